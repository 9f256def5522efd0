// Vectors of 16 bytes for any processor, with the vector extensions that GCC and Clang share. The compiler translates
// them into the processor's own instructions.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

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
    typedef T Lanes __attribute__((vector_size(16)));
    typedef typename LaneInteger<T>::type Integers __attribute__((vector_size(16)));
    struct Mask {
        Integers lane;  // all bits set in lanes where the condition holds
    };
    Lanes lane;

    Vec() = default;
    template <class U>
    STEEPEST_HD explicit Vec(U x) {
        const T item = static_cast<T>(x);
        if constexpr (kSize == 4)
            lane = Lanes{item, item, item, item};
        else
            lane = Lanes{item, item};
    }
    static STEEPEST_HD Vec of(Lanes lane) {
        Vec r;
        r.lane = lane;
        return r;
    }

    static STEEPEST_HD Vec load(const T* p) {
        Vec r;
        std::memcpy(&r.lane, p, sizeof(Lanes));
        return r;
    }
    static STEEPEST_HD Vec load(const T* p, int n, Vec rest = Vec(0)) {
        for (int i = 0; i < n; ++i) rest.lane[i] = p[i];
        return rest;
    }
    STEEPEST_HD void store(T* p) const { std::memcpy(p, &lane, sizeof(Lanes)); }
    STEEPEST_HD void stream(T* p) const { store(p); }
    STEEPEST_HD void store(T* p, int n) const {
        for (int i = 0; i < n; ++i) p[i] = lane[i];
    }

    STEEPEST_HD Integers bits() const { return reinterpret_cast<Integers>(lane); }
    static STEEPEST_HD Vec of_bits(Integers bits) { return of(reinterpret_cast<Lanes>(bits)); }
};

STEEPEST_HD void finish_streams() {}

template <class T>
constexpr typename LaneInteger<T>::type kSignBit = std::numeric_limits<typename LaneInteger<T>::type>::min();

#define STEEPEST_LANEWISE(signature, expression) \
    template <class T>                           \
    STEEPEST_HD Vec<T> signature {               \
        return Vec<T>::of(expression);           \
    }
STEEPEST_LANEWISE(operator+(Vec<T> a, Vec<T> b), a.lane + b.lane)
STEEPEST_LANEWISE(operator-(Vec<T> a, Vec<T> b), a.lane - b.lane)
STEEPEST_LANEWISE(operator*(Vec<T> a, Vec<T> b), a.lane* b.lane)
STEEPEST_LANEWISE(operator/(Vec<T> a, Vec<T> b), a.lane / b.lane)
STEEPEST_LANEWISE(operator-(Vec<T> a), -a.lane)
// Rounded twice: without the instruction, a true fused multiply-add would be a slow library call.
STEEPEST_LANEWISE(fma(Vec<T> a, Vec<T> b, Vec<T> c), a.lane* b.lane + c.lane)
// max and min return the second argument where either is NaN.
STEEPEST_LANEWISE(max(Vec<T> a, Vec<T> b), a.lane > b.lane ? a.lane : b.lane)
STEEPEST_LANEWISE(min(Vec<T> a, Vec<T> b), a.lane < b.lane ? a.lane : b.lane)
STEEPEST_LANEWISE(quotient(Vec<T> a, Vec<T> b), a.lane / b.lane)
#undef STEEPEST_LANEWISE

template <class T>
STEEPEST_HD Vec<T> abs(Vec<T> a) {
    return Vec<T>::of_bits(a.bits() & ~kSignBit<T>);
}
template <class T>
STEEPEST_HD Vec<T> minus_abs(Vec<T> a) {
    return Vec<T>::of_bits(a.bits() | kSignBit<T>);
}
template <class T>
STEEPEST_HD Vec<T> sqrt(Vec<T> a) {
    for (int i = 0; i < Vec<T>::kSize; ++i) a.lane[i] = std::sqrt(a.lane[i]);
    return a;
}

template <class T>
STEEPEST_HD typename Vec<T>::Mask operator>(Vec<T> a, Vec<T> b) {
    return {a.lane > b.lane};
}
template <class T>
STEEPEST_HD typename Vec<T>::Mask operator==(Vec<T> a, Vec<T> b) {
    return {a.lane == b.lane};
}
// Whether a > b in any lane.
template <class T>
STEEPEST_HD bool any_greater(Vec<T> a, Vec<T> b) {
    bool any = false;
    for (int i = 0; i < Vec<T>::kSize; ++i) any = any || a.lane[i] > b.lane[i];
    return any;
}
template <class T>
STEEPEST_HD Vec<T> select(typename Vec<T>::Mask m, Vec<T> a, Vec<T> b) {
    return Vec<T>::of(m.lane ? a.lane : b.lane);
}

// Whether a lane is NaN.
template <class T>
STEEPEST_HD bool any_nan(Vec<T> a) {
    bool any = false;
    for (int i = 0; i < Vec<T>::kSize; ++i) any = any || a.lane[i] != a.lane[i];
    return any;
}
// Whether a > b, or a is NaN and b is not.
template <class T>
STEEPEST_HD typename Vec<T>::Mask exceeds(Vec<T> a, Vec<T> b) {
    return {~(a.lane <= b.lane) & (b.lane == b.lane)};
}

template <class T>
STEEPEST_HD Vec<T> load_bytes(const uint8_t* p, int n) {
    Vec<T> r(0);
    for (int i = 0; i < n; ++i) r.lane[i] = p[i];
    return r;
}
template <class T>
STEEPEST_HD void store_bytes(Vec<T> a, uint8_t* p, int n) {
    for (int i = 0; i < n; ++i) p[i] = static_cast<uint8_t>(a.lane[i]);
}

template <class T>
struct Picker {
    int32_t lane[Vec<T>::kSize];

    STEEPEST_HD explicit Picker(const int32_t* numbers) {
        for (int i = 0; i < Vec<T>::kSize; ++i) lane[i] = numbers[i];
    }
    STEEPEST_HD Vec<T> operator()(Vec<T> a, Vec<T> b) const {
        Vec<T> r;
        for (int i = 0; i < Vec<T>::kSize; ++i)
            r.lane[i] = lane[i] < Vec<T>::kSize ? a.lane[lane[i]] : b.lane[lane[i] - Vec<T>::kSize];
        return r;
    }
};

// The upper half of a's digits (Veltkamp).
template <class T>
STEEPEST_HD Vec<T> upper_half(Vec<T> a) {
    const Vec<T> shifted = a * Vec<T>(sizeof(T) == 4 ? 0x1.001p12 : 0x1.0000002p27);
    return shifted - (shifted - a);
}

// The rounding error a b - product, for `product` = a b rounded: halves of the digits have exact products (Dekker).
template <class T>
STEEPEST_HD Vec<T> rounding_of_product(Vec<T> a, Vec<T> b, Vec<T> product) {
    const Vec<T> high = upper_half(a), low = a - high, b_high = upper_half(b), b_low = b - b_high;
    return ((high * b_high - product) + (high * b_low + low * b_high)) + low * b_low;
}

// Rounds to the nearest integer, for |a| below 2^22 (2^51): adding 1.5 2^23 (1.5 2^52) drops the fraction.
template <class T>
STEEPEST_HD Vec<T> round(Vec<T> a) {
    const Vec<T> shift(static_cast<T>(int64_t{3} << (LaneInteger<T>::kMantissa - 1)));
    return (a + shift) - shift;
}

// 2^n for integral n within the normal range.
template <class T>
STEEPEST_HD Vec<T> power_of_two(Vec<T> n) {
    using V = Vec<T>;
    // A NaN has no integer value; any finite power keeps it NaN in the product.
    const auto whole = __builtin_convertvector(select(n == n, n, V(0)).lane, typename V::Integers);
    return V::of_bits((whole + LaneInteger<T>::kBias) << LaneInteger<T>::kMantissa);
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
    using V = Vec<T>;
    using I = typename LaneInteger<T>::type;
    constexpr I kMantissa = LaneInteger<T>::kMantissa, kBias = LaneInteger<T>::kBias;
    e = V::of(__builtin_convertvector((x.bits() >> kMantissa) - kBias, typename V::Lanes));
    return V::of_bits((x.bits() & ((I{1} << kMantissa) - 1)) | (kBias << kMantissa));
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
// The lower and the upper half of the lanes, as float64.
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

// There are no narrower vectors.
template <class T>
using NarrowVec = Vec<T>;

// The accumulators of the matrix product's register tile: kTileRows rows of kTileVectors vectors.
constexpr int kTileRows = 4;
constexpr int kTileVectors = 2;

}  // namespace STEEPEST_TARGET
}  // namespace steepest
