// Vectors of 16 bytes in plain C++, for any processor; compilers turn the loops into its own instructions.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
struct LaneInteger;
template <>
struct LaneInteger<float> {
    using type = int32_t;
    static constexpr int kMantissa = 23, kBias = 127;
};
template <>
struct LaneInteger<double> {
    using type = int64_t;
    static constexpr int kMantissa = 52, kBias = 1023;
};

template <class T>
struct Vec {
    static constexpr int kSize = 16 / sizeof(T);
    struct Mask {
        bool lane[kSize];
    };
    T lane[kSize];

    Vec() = default;
    template <class U>
    STEEPEST_HD explicit Vec(U x) {
        for (int i = 0; i < kSize; ++i) lane[i] = static_cast<T>(x);
    }

    static STEEPEST_HD Vec load(const T* p) {
        Vec r;
        for (int i = 0; i < kSize; ++i) r.lane[i] = p[i];
        return r;
    }
    static STEEPEST_HD Vec load(const T* p, int n, Vec rest = Vec(0)) {
        for (int i = 0; i < n; ++i) rest.lane[i] = p[i];
        return rest;
    }
    STEEPEST_HD void store(T* p) const {
        for (int i = 0; i < kSize; ++i) p[i] = lane[i];
    }
    STEEPEST_HD void stream(T* p) const { store(p); }
    STEEPEST_HD void store(T* p, int n) const {
        for (int i = 0; i < n; ++i) p[i] = lane[i];
    }
};

STEEPEST_HD void finish_streams() {}

#define STEEPEST_LANEWISE(signature, expression)                          \
    template <class T>                                                    \
    STEEPEST_HD Vec<T> signature {                                        \
        Vec<T> r;                                                         \
        for (int i = 0; i < Vec<T>::kSize; ++i) r.lane[i] = (expression); \
        return r;                                                         \
    }
STEEPEST_LANEWISE(operator+(Vec<T> a, Vec<T> b), a.lane[i] + b.lane[i])
STEEPEST_LANEWISE(operator-(Vec<T> a, Vec<T> b), a.lane[i] - b.lane[i])
STEEPEST_LANEWISE(operator*(Vec<T> a, Vec<T> b), a.lane[i] * b.lane[i])
STEEPEST_LANEWISE(operator/(Vec<T> a, Vec<T> b), a.lane[i] / b.lane[i])
STEEPEST_LANEWISE(operator-(Vec<T> a), -a.lane[i])
// Two roundings: without the instruction, a true fused multiply-add would be a slow library call.
STEEPEST_LANEWISE(fma(Vec<T> a, Vec<T> b, Vec<T> c), a.lane[i] * b.lane[i] + c.lane[i])
// The second argument where either is NaN.
STEEPEST_LANEWISE(max(Vec<T> a, Vec<T> b), a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i])
STEEPEST_LANEWISE(min(Vec<T> a, Vec<T> b), a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i])
STEEPEST_LANEWISE(abs(Vec<T> a), std::abs(a.lane[i]))
STEEPEST_LANEWISE(minus_abs(Vec<T> a), -std::abs(a.lane[i]))
STEEPEST_LANEWISE(sqrt(Vec<T> a), static_cast<T>(std::sqrt(a.lane[i])))
STEEPEST_LANEWISE(quotient(Vec<T> a, Vec<T> b), a.lane[i] / b.lane[i])
#undef STEEPEST_LANEWISE

template <class T>
STEEPEST_HD typename Vec<T>::Mask operator>(Vec<T> a, Vec<T> b) {
    typename Vec<T>::Mask m;
    for (int i = 0; i < Vec<T>::kSize; ++i) m.lane[i] = a.lane[i] > b.lane[i];
    return m;
}
template <class T>
STEEPEST_HD typename Vec<T>::Mask operator==(Vec<T> a, Vec<T> b) {
    typename Vec<T>::Mask m;
    for (int i = 0; i < Vec<T>::kSize; ++i) m.lane[i] = a.lane[i] == b.lane[i];
    return m;
}
// Whether it is so in any lane.
template <class T>
STEEPEST_HD bool any_greater(Vec<T> a, Vec<T> b) {
    bool any = false;
    for (int i = 0; i < Vec<T>::kSize; ++i) any = any || a.lane[i] > b.lane[i];
    return any;
}
template <class T>
STEEPEST_HD Vec<T> select(typename Vec<T>::Mask m, Vec<T> a, Vec<T> b) {
    Vec<T> r;
    for (int i = 0; i < Vec<T>::kSize; ++i) r.lane[i] = m.lane[i] ? a.lane[i] : b.lane[i];
    return r;
}

// What the rounded square of a lacks of a²: the two halves of a's digits (Veltkamp) have exact products.
template <class T>
STEEPEST_HD Vec<T> rounding_of_square(Vec<T> a, Vec<T> square) {
    const Vec<T> shifted = a * Vec<T>(sizeof(T) == 4 ? 0x1.001p12 : 0x1.0000002p27);
    const Vec<T> high = shifted - (shifted - a), low = a - high;
    return ((high * high - square) + high * (low + low)) + low * low;
}

// To the nearest integer, for |x| below 2^22 (2^51): adding 1.5 2^23 (1.5 2^52) drops the fraction.
template <class T>
STEEPEST_HD Vec<T> round(Vec<T> a) {
    const Vec<T> shift(static_cast<T>(int64_t{3} << (LaneInteger<T>::kMantissa - 1)));
    return (a + shift) - shift;
}

// 2^n for integral n within the normal range.
template <class T>
STEEPEST_HD Vec<T> power_of_two(Vec<T> n) {
    using I = typename LaneInteger<T>::type;
    Vec<T> r;
    for (int i = 0; i < Vec<T>::kSize; ++i) {
        // A NaN has no integer value; any finite power keeps it NaN in the product.
        const T whole = n.lane[i] == n.lane[i] ? n.lane[i] : T(0);
        const I bits = (static_cast<I>(whole) + LaneInteger<T>::kBias) << LaneInteger<T>::kMantissa;
        std::memcpy(&r.lane[i], &bits, sizeof(T));
    }
    return r;
}

// a 2^n for integral n, in two steps so that results below the normal range are rounded and not lost
template <class T>
STEEPEST_HD Vec<T> scale_by_power_of_two(Vec<T> a, Vec<T> n) {
    const Vec<T> half = round(n * Vec<T>(0.5));
    return a * power_of_two(half) * power_of_two(n - half);
}

// x = m 2^e with m in [1, 2), for positive normal x.
template <class T>
STEEPEST_HD Vec<T> split_exponent(Vec<T> x, Vec<T>& e) {
    using I = typename LaneInteger<T>::type;
    constexpr int kMantissa = LaneInteger<T>::kMantissa, kBias = LaneInteger<T>::kBias;
    Vec<T> m;
    for (int i = 0; i < Vec<T>::kSize; ++i) {
        I bits;
        std::memcpy(&bits, &x.lane[i], sizeof(T));
        e.lane[i] = static_cast<T>((bits >> kMantissa) - kBias);
        bits = (bits & ((I{1} << kMantissa) - 1)) | (I{kBias} << kMantissa);
        std::memcpy(&m.lane[i], &bits, sizeof(T));
    }
    return m;
}

// r[i] lane j becomes r[j] lane i.
template <class T>
STEEPEST_HD void transpose(Vec<T>* r) {
    for (int i = 0; i < Vec<T>::kSize; ++i) {
        for (int j = 0; j < i; ++j) {
            const T lane = r[i].lane[j];
            r[i].lane[j] = r[j].lane[i], r[j].lane[i] = lane;
        }
    }
}

template <class T>
STEEPEST_HD T reduce_add(Vec<T> a) {
    T r = a.lane[0];
    for (int i = 1; i < Vec<T>::kSize; ++i) r += a.lane[i];
    return r;
}
template <class T>
STEEPEST_HD T reduce_max(Vec<T> a) {
    T r = a.lane[0];
    for (int i = 1; i < Vec<T>::kSize; ++i) r = a.lane[i] > r ? a.lane[i] : r;
    return r;
}
// The lower and the upper half of the lanes.
STEEPEST_HD Vec<double> widen_low(Vec<float> a) {
    Vec<double> r;
    for (int i = 0; i < Vec<double>::kSize; ++i) r.lane[i] = a.lane[i];
    return r;
}
STEEPEST_HD Vec<double> widen_high(Vec<float> a) {
    Vec<double> r;
    for (int i = 0; i < Vec<double>::kSize; ++i) r.lane[i] = a.lane[Vec<double>::kSize + i];
    return r;
}
STEEPEST_HD double first_lane(Vec<double> a) { return a.lane[0]; }

// The sum of all lanes in float64.
template <class T>
STEEPEST_HD double reduce_add_wide(Vec<T> a) {
    double r = a.lane[0];
    for (int i = 1; i < Vec<T>::kSize; ++i) r += a.lane[i];
    return r;
}

// How many accumulators the matrix product's register tile has: kTileRows rows of kTileVectors vectors.
constexpr int kTileRows = 4;
constexpr int kTileVectors = 2;

}  // namespace STEEPEST_TARGET
}  // namespace steepest
