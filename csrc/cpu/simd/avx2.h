// Vectors of AVX2 and FMA.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
struct Vec;

// Lane masks: a window of 8 (4) lanes that starts at 8 - n (4 - n) has all bits set in its first n lanes.
alignas(64) static constexpr int32_t kLaneMask32[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
alignas(64) static constexpr int64_t kLaneMask64[8] = {-1, -1, -1, -1, 0, 0, 0, 0};

template <>
struct Vec<float> {
    static constexpr int kSize = 8;
    __m256 v;

    Vec() = default;
    STEEPEST_HD Vec(__m256 x) : v(x) {}
    STEEPEST_HD explicit Vec(double x) : v(_mm256_set1_ps(static_cast<float>(x))) {}
    STEEPEST_HD explicit Vec(float x) : v(_mm256_set1_ps(x)) {}
    STEEPEST_HD explicit Vec(int x) : v(_mm256_set1_ps(static_cast<float>(x))) {}

    static STEEPEST_HD __m256i first(int n) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLaneMask32 + 8 - n));
    }
    static STEEPEST_HD Vec load(const float* p) { return _mm256_loadu_ps(p); }
    static STEEPEST_HD Vec load(const float* p, int n) { return _mm256_maskload_ps(p, first(n)); }
    static STEEPEST_HD Vec load(const float* p, int n, Vec rest) {
        return _mm256_blendv_ps(rest.v, _mm256_maskload_ps(p, first(n)), _mm256_castsi256_ps(first(n)));
    }
    STEEPEST_HD void store(float* p) const { _mm256_storeu_ps(p, v); }
    STEEPEST_HD void stream(float* p) const { _mm256_stream_ps(p, v); }
    STEEPEST_HD void store(float* p, int n) const { _mm256_maskstore_ps(p, first(n), v); }
};

template <>
struct Vec<double> {
    static constexpr int kSize = 4;
    __m256d v;

    Vec() = default;
    STEEPEST_HD Vec(__m256d x) : v(x) {}
    STEEPEST_HD explicit Vec(double x) : v(_mm256_set1_pd(x)) {}
    STEEPEST_HD explicit Vec(int x) : v(_mm256_set1_pd(x)) {}

    static STEEPEST_HD __m256i first(int n) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLaneMask64 + 4 - n));
    }
    static STEEPEST_HD Vec load(const double* p) { return _mm256_loadu_pd(p); }
    static STEEPEST_HD Vec load(const double* p, int n) { return _mm256_maskload_pd(p, first(n)); }
    static STEEPEST_HD Vec load(const double* p, int n, Vec rest) {
        return _mm256_blendv_pd(rest.v, _mm256_maskload_pd(p, first(n)), _mm256_castsi256_pd(first(n)));
    }
    STEEPEST_HD void store(double* p) const { _mm256_storeu_pd(p, v); }
    STEEPEST_HD void stream(double* p) const { _mm256_stream_pd(p, v); }
    STEEPEST_HD void store(double* p, int n) const { _mm256_maskstore_pd(p, first(n), v); }
};

// Call after stores by stream(): orders them before all later stores.
STEEPEST_HD void finish_streams() { _mm_sfence(); }

STEEPEST_HD Vec<float> operator+(Vec<float> a, Vec<float> b) { return _mm256_add_ps(a.v, b.v); }
STEEPEST_HD Vec<float> operator-(Vec<float> a, Vec<float> b) { return _mm256_sub_ps(a.v, b.v); }
STEEPEST_HD Vec<float> operator*(Vec<float> a, Vec<float> b) { return _mm256_mul_ps(a.v, b.v); }
STEEPEST_HD Vec<float> operator/(Vec<float> a, Vec<float> b) { return _mm256_div_ps(a.v, b.v); }
STEEPEST_HD Vec<float> operator-(Vec<float> a) { return _mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f)); }
STEEPEST_HD Vec<double> operator+(Vec<double> a, Vec<double> b) { return _mm256_add_pd(a.v, b.v); }
STEEPEST_HD Vec<double> operator-(Vec<double> a, Vec<double> b) { return _mm256_sub_pd(a.v, b.v); }
STEEPEST_HD Vec<double> operator*(Vec<double> a, Vec<double> b) { return _mm256_mul_pd(a.v, b.v); }
STEEPEST_HD Vec<double> operator/(Vec<double> a, Vec<double> b) { return _mm256_div_pd(a.v, b.v); }
STEEPEST_HD Vec<double> operator-(Vec<double> a) { return _mm256_xor_pd(a.v, _mm256_set1_pd(-0.0)); }

// a b + c, rounded once
STEEPEST_HD Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return _mm256_fmadd_ps(a.v, b.v, c.v); }
STEEPEST_HD Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return _mm256_fmadd_pd(a.v, b.v, c.v); }

// max and min return the second argument where either is NaN.
STEEPEST_HD Vec<float> max(Vec<float> a, Vec<float> b) { return _mm256_max_ps(a.v, b.v); }
STEEPEST_HD Vec<float> min(Vec<float> a, Vec<float> b) { return _mm256_min_ps(a.v, b.v); }
STEEPEST_HD Vec<double> max(Vec<double> a, Vec<double> b) { return _mm256_max_pd(a.v, b.v); }
STEEPEST_HD Vec<double> min(Vec<double> a, Vec<double> b) { return _mm256_min_pd(a.v, b.v); }

STEEPEST_HD __m256 operator>(Vec<float> a, Vec<float> b) { return _mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ); }
STEEPEST_HD __m256d operator>(Vec<double> a, Vec<double> b) { return _mm256_cmp_pd(a.v, b.v, _CMP_GT_OQ); }
STEEPEST_HD __m256 operator==(Vec<float> a, Vec<float> b) { return _mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ); }
STEEPEST_HD __m256d operator==(Vec<double> a, Vec<double> b) { return _mm256_cmp_pd(a.v, b.v, _CMP_EQ_OQ); }
// Whether a > b in any lane.
STEEPEST_HD bool any_greater(Vec<float> a, Vec<float> b) { return _mm256_movemask_ps(a > b) != 0; }
STEEPEST_HD bool any_greater(Vec<double> a, Vec<double> b) { return _mm256_movemask_pd(a > b) != 0; }
STEEPEST_HD Vec<float> select(__m256 m, Vec<float> a, Vec<float> b) { return _mm256_blendv_ps(b.v, a.v, m); }
STEEPEST_HD Vec<double> select(__m256d m, Vec<double> a, Vec<double> b) { return _mm256_blendv_pd(b.v, a.v, m); }

STEEPEST_HD Vec<float> abs(Vec<float> a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v); }
STEEPEST_HD Vec<double> abs(Vec<double> a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a.v); }
STEEPEST_HD Vec<float> minus_abs(Vec<float> a) { return _mm256_or_ps(_mm256_set1_ps(-0.0f), a.v); }
STEEPEST_HD Vec<double> minus_abs(Vec<double> a) { return _mm256_or_pd(_mm256_set1_pd(-0.0), a.v); }
STEEPEST_HD Vec<float> sqrt(Vec<float> a) { return _mm256_sqrt_ps(a.v); }
STEEPEST_HD Vec<double> sqrt(Vec<double> a) { return _mm256_sqrt_pd(a.v); }
STEEPEST_HD Vec<float> round(Vec<float> a) {
    return _mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
STEEPEST_HD Vec<double> round(Vec<double> a) {
    return _mm256_round_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// 2^n for integral n within the normal range. Adding 1.5 2^23 (1.5 2^52) leaves n in the low bits of the mantissa.
STEEPEST_HD Vec<float> power_of_two(Vec<float> n) {
    const __m256i bits = _mm256_castps_si256(_mm256_add_ps(n.v, _mm256_set1_ps(0x1.8p23f)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(127)), 23));
}
STEEPEST_HD Vec<double> power_of_two(Vec<double> n) {
    const __m256i bits = _mm256_castpd_si256(_mm256_add_pd(n.v, _mm256_set1_pd(0x1.8p52)));
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_add_epi64(bits, _mm256_set1_epi64x(1023)), 52));
}

// a 2^n for integral n, in two steps so that results below the normal range are rounded and not lost
template <class T>
STEEPEST_HD Vec<T> scale_by_power_of_two(Vec<T> a, Vec<T> n) {
    const Vec<T> half = round(n * Vec<T>(0.5));
    return a * power_of_two(half) * power_of_two(n - half);
}

// x = m 2^e with m in [1, 2), for positive normal x. The exponent becomes a number by planting it in the mantissa
// of 2^23 (2^52).
STEEPEST_HD Vec<float> split_exponent(Vec<float> x, Vec<float>& e) {
    const __m256i bits = _mm256_castps_si256(x.v);
    const __m256i planted = _mm256_or_si256(_mm256_srli_epi32(bits, 23), _mm256_set1_epi32(0x4B000000));
    e = _mm256_sub_ps(_mm256_castsi256_ps(planted), _mm256_set1_ps(0x1p23f + 127));
    return _mm256_castsi256_ps(
        _mm256_or_si256(_mm256_and_si256(bits, _mm256_set1_epi32(0x007FFFFF)), _mm256_set1_epi32(0x3F800000)));
}
STEEPEST_HD Vec<double> split_exponent(Vec<double> x, Vec<double>& e) {
    const __m256i bits = _mm256_castpd_si256(x.v);
    const __m256i planted = _mm256_or_si256(_mm256_srli_epi64(bits, 52), _mm256_set1_epi64x(0x4330000000000000));
    e = _mm256_sub_pd(_mm256_castsi256_pd(planted), _mm256_set1_pd(0x1p52 + 1023));
    return _mm256_castsi256_pd(_mm256_or_si256(_mm256_and_si256(bits, _mm256_set1_epi64x(0x000FFFFFFFFFFFFF)),
                                               _mm256_set1_epi64x(0x3FF0000000000000)));
}

// The rounding error a b - product, for `product` = a b rounded.
template <class T>
STEEPEST_HD Vec<T> rounding_of_product(Vec<T> a, Vec<T> b, Vec<T> product) {
    return fma(a, b, -product);
}

STEEPEST_HD Vec<float> quotient(Vec<float> a, Vec<float> b) { return a / b; }
STEEPEST_HD Vec<double> quotient(Vec<double> a, Vec<double> b) { return a / b; }

// r[i] lane j becomes r[j] lane i: pairs, then quads of lanes are interleaved, then 128-bit halves move.
STEEPEST_HD void transpose(Vec<float>* r) {
    __m256 u[2][4];
    for (int q = 0; q < 2; ++q) {
        const __m256 low01 = _mm256_unpacklo_ps(r[4 * q].v, r[4 * q + 1].v),
                     high01 = _mm256_unpackhi_ps(r[4 * q].v, r[4 * q + 1].v);
        const __m256 low23 = _mm256_unpacklo_ps(r[4 * q + 2].v, r[4 * q + 3].v);
        const __m256 high23 = _mm256_unpackhi_ps(r[4 * q + 2].v, r[4 * q + 3].v);
        u[q][0] = _mm256_shuffle_ps(low01, low23, 0x44), u[q][1] = _mm256_shuffle_ps(low01, low23, 0xEE);
        u[q][2] = _mm256_shuffle_ps(high01, high23, 0x44), u[q][3] = _mm256_shuffle_ps(high01, high23, 0xEE);
    }
    for (int j = 0; j < 4; ++j) {
        r[j] = _mm256_permute2f128_ps(u[0][j], u[1][j], 0x20);
        r[4 + j] = _mm256_permute2f128_ps(u[0][j], u[1][j], 0x31);
    }
}
STEEPEST_HD void transpose(Vec<double>* r) {
    const __m256d low01 = _mm256_unpacklo_pd(r[0].v, r[1].v), high01 = _mm256_unpackhi_pd(r[0].v, r[1].v);
    const __m256d low23 = _mm256_unpacklo_pd(r[2].v, r[3].v), high23 = _mm256_unpackhi_pd(r[2].v, r[3].v);
    r[0] = _mm256_permute2f128_pd(low01, low23, 0x20), r[1] = _mm256_permute2f128_pd(high01, high23, 0x20);
    r[2] = _mm256_permute2f128_pd(low01, low23, 0x31), r[3] = _mm256_permute2f128_pd(high01, high23, 0x31);
}

// Whether a lane is NaN.
STEEPEST_HD bool any_nan(Vec<float> a) { return _mm256_movemask_ps(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)) != 0; }
STEEPEST_HD bool any_nan(Vec<double> a) { return _mm256_movemask_pd(_mm256_cmp_pd(a.v, a.v, _CMP_UNORD_Q)) != 0; }
// Whether a > b, or a is NaN and b is not.
STEEPEST_HD __m256 exceeds(Vec<float> a, Vec<float> b) {
    return _mm256_and_ps(_mm256_cmp_ps(b.v, b.v, _CMP_ORD_Q), _mm256_cmp_ps(a.v, b.v, _CMP_NLE_UQ));
}
STEEPEST_HD __m256d exceeds(Vec<double> a, Vec<double> b) {
    return _mm256_and_pd(_mm256_cmp_pd(b.v, b.v, _CMP_ORD_Q), _mm256_cmp_pd(a.v, b.v, _CMP_NLE_UQ));
}

template <class T>
STEEPEST_HD Vec<T> load_bytes(const uint8_t* p, int n) {
    uint64_t bytes = 0;
    if (n == Vec<T>::kSize)
        __builtin_memcpy(&bytes, p, Vec<T>::kSize);
    else
        for (int l = 0; l < n; ++l) bytes |= static_cast<uint64_t>(p[l]) << 8 * l;
    const __m128i low = _mm_cvtsi64_si128(static_cast<int64_t>(bytes));
    if constexpr (sizeof(T) == 4)
        return Vec<float>(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(low)));
    else
        return Vec<double>(_mm256_cvtepi32_pd(_mm_cvtepu8_epi32(low)));
}
template <class T>
STEEPEST_HD void store_bytes(Vec<T> a, uint8_t* p, int n) {
    __m128i words;  // the lanes as integers of two bytes
    if constexpr (sizeof(T) == 4) {
        const __m256i lanes = _mm256_cvtps_epi32(a.v);
        words = _mm_packus_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    } else {
        const __m128i lanes = _mm256_cvtpd_epi32(a.v);
        words = _mm_packus_epi32(lanes, lanes);
    }
    const auto bytes = static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_packus_epi16(words, words)));
    if (n == Vec<T>::kSize)
        __builtin_memcpy(p, &bytes, Vec<T>::kSize);
    else
        for (int l = 0; l < n; ++l) p[l] = static_cast<uint8_t>(bytes >> 8 * l);
}

template <class T>
struct Picker {
    __m256i lane;  // numbers of floats
    __m256 of_second;

    STEEPEST_HD explicit Picker(const int32_t* numbers) {
        if constexpr (sizeof(T) == 4) {
            lane = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(numbers));
            of_second = _mm256_castsi256_ps(_mm256_slli_epi32(lane, 28));
        } else {
            const __m256i pair =
                _mm256_slli_epi64(_mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(numbers))), 1);
            lane = _mm256_or_si256(pair, _mm256_slli_epi64(_mm256_add_epi64(pair, _mm256_set1_epi64x(1)), 32));
            of_second = _mm256_castsi256_ps(_mm256_slli_epi64(pair, 60));
        }
    }
    STEEPEST_HD Vec<T> operator()(Vec<T> a, Vec<T> b) const {
        if constexpr (sizeof(T) == 4)
            return _mm256_blendv_ps(_mm256_permutevar8x32_ps(a.v, lane), _mm256_permutevar8x32_ps(b.v, lane),
                                    of_second);
        else
            return _mm256_blendv_pd(_mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(a.v), lane)),
                                    _mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(b.v), lane)),
                                    _mm256_castps_pd(of_second));
    }
};

STEEPEST_HD float reduce_add(Vec<float> a) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
STEEPEST_HD double reduce_add(Vec<double> a) {
    const __m128d x = _mm_add_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
}
STEEPEST_HD float reduce_max(Vec<float> a) {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}
STEEPEST_HD double reduce_max(Vec<double> a) {
    const __m128d x = _mm_max_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
    return _mm_cvtsd_f64(_mm_max_sd(x, _mm_unpackhi_pd(x, x)));
}

// The lower and the upper half of the lanes, as float64.
STEEPEST_HD Vec<double> widen_low(Vec<float> a) { return _mm256_cvtps_pd(_mm256_castps256_ps128(a.v)); }
STEEPEST_HD Vec<double> widen_high(Vec<float> a) { return _mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1)); }

STEEPEST_HD double first_lane(Vec<double> a) { return _mm256_cvtsd_f64(a.v); }

// The sum of all lanes in float64.
STEEPEST_HD double reduce_add_wide(Vec<float> a) { return reduce_add(widen_low(a) + widen_high(a)); }
STEEPEST_HD double reduce_add_wide(Vec<double> a) { return reduce_add(a); }

// There are no narrower vectors.
template <class T>
using NarrowVec = Vec<T>;

// The accumulators of the matrix product's register tile: kTileRows rows of kTileVectors vectors.
constexpr int kTileRows = 6;
constexpr int kTileVectors = 2;

}  // namespace STEEPEST_TARGET
}  // namespace steepest
