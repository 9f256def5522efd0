// Vectors of AVX-512 (F, BW, DQ, VL).
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
struct Vec;

template <>
struct Vec<float> {
    using Mask = __mmask16;
    static constexpr int kSize = 16;
    __m512 v;

    Vec() = default;
    STEEPEST_HD Vec(__m512 x) : v(x) {}
    STEEPEST_HD explicit Vec(double x) : v(_mm512_set1_ps(static_cast<float>(x))) {}
    STEEPEST_HD explicit Vec(float x) : v(_mm512_set1_ps(x)) {}
    STEEPEST_HD explicit Vec(int x) : v(_mm512_set1_ps(static_cast<float>(x))) {}

    static STEEPEST_HD Mask first(int n) { return static_cast<Mask>((1u << n) - 1u); }
    static STEEPEST_HD Vec load(const float* p) { return _mm512_loadu_ps(p); }
    static STEEPEST_HD Vec load(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
    static STEEPEST_HD Vec load(const float* p, int n, Vec rest) { return _mm512_mask_loadu_ps(rest.v, first(n), p); }
    STEEPEST_HD void store(float* p) const { _mm512_storeu_ps(p, v); }
    STEEPEST_HD void stream(float* p) const { _mm512_stream_ps(p, v); }
    STEEPEST_HD void store(float* p, int n) const { _mm512_mask_storeu_ps(p, first(n), v); }
};

template <>
struct Vec<double> {
    using Mask = __mmask8;
    static constexpr int kSize = 8;
    __m512d v;

    Vec() = default;
    STEEPEST_HD Vec(__m512d x) : v(x) {}
    STEEPEST_HD explicit Vec(double x) : v(_mm512_set1_pd(x)) {}
    STEEPEST_HD explicit Vec(int x) : v(_mm512_set1_pd(x)) {}

    static STEEPEST_HD Mask first(int n) { return static_cast<Mask>((1u << n) - 1u); }
    static STEEPEST_HD Vec load(const double* p) { return _mm512_loadu_pd(p); }
    static STEEPEST_HD Vec load(const double* p, int n) { return _mm512_maskz_loadu_pd(first(n), p); }
    static STEEPEST_HD Vec load(const double* p, int n, Vec rest) { return _mm512_mask_loadu_pd(rest.v, first(n), p); }
    STEEPEST_HD void store(double* p) const { _mm512_storeu_pd(p, v); }
    STEEPEST_HD void stream(double* p) const { _mm512_stream_pd(p, v); }
    STEEPEST_HD void store(double* p, int n) const { _mm512_mask_storeu_pd(p, first(n), v); }
};

// Call after stores by stream(): orders them before all later stores.
STEEPEST_HD void finish_streams() { _mm_sfence(); }

STEEPEST_HD Vec<float> operator+(Vec<float> a, Vec<float> b) { return _mm512_add_ps(a.v, b.v); }
STEEPEST_HD Vec<float> operator-(Vec<float> a, Vec<float> b) { return _mm512_sub_ps(a.v, b.v); }
STEEPEST_HD Vec<float> operator*(Vec<float> a, Vec<float> b) { return _mm512_mul_ps(a.v, b.v); }
STEEPEST_HD Vec<float> operator/(Vec<float> a, Vec<float> b) { return _mm512_div_ps(a.v, b.v); }
STEEPEST_HD Vec<float> operator-(Vec<float> a) { return _mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f)); }
STEEPEST_HD Vec<double> operator+(Vec<double> a, Vec<double> b) { return _mm512_add_pd(a.v, b.v); }
STEEPEST_HD Vec<double> operator-(Vec<double> a, Vec<double> b) { return _mm512_sub_pd(a.v, b.v); }
STEEPEST_HD Vec<double> operator*(Vec<double> a, Vec<double> b) { return _mm512_mul_pd(a.v, b.v); }
STEEPEST_HD Vec<double> operator/(Vec<double> a, Vec<double> b) { return _mm512_div_pd(a.v, b.v); }
STEEPEST_HD Vec<double> operator-(Vec<double> a) { return _mm512_xor_pd(a.v, _mm512_set1_pd(-0.0)); }

// a b + c, rounded once
STEEPEST_HD Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return _mm512_fmadd_ps(a.v, b.v, c.v); }
STEEPEST_HD Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return _mm512_fmadd_pd(a.v, b.v, c.v); }

// max and min return the second argument where either is NaN.
STEEPEST_HD Vec<float> max(Vec<float> a, Vec<float> b) { return _mm512_max_ps(a.v, b.v); }
STEEPEST_HD Vec<float> min(Vec<float> a, Vec<float> b) { return _mm512_min_ps(a.v, b.v); }
STEEPEST_HD Vec<double> max(Vec<double> a, Vec<double> b) { return _mm512_max_pd(a.v, b.v); }
STEEPEST_HD Vec<double> min(Vec<double> a, Vec<double> b) { return _mm512_min_pd(a.v, b.v); }

STEEPEST_HD __mmask16 operator>(Vec<float> a, Vec<float> b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ); }
STEEPEST_HD __mmask8 operator>(Vec<double> a, Vec<double> b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_GT_OQ); }
STEEPEST_HD __mmask16 operator==(Vec<float> a, Vec<float> b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ); }
STEEPEST_HD __mmask8 operator==(Vec<double> a, Vec<double> b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ); }
// Whether a > b in any lane.
STEEPEST_HD bool any_greater(Vec<float> a, Vec<float> b) { return (a > b) != 0; }
STEEPEST_HD bool any_greater(Vec<double> a, Vec<double> b) { return (a > b) != 0; }
STEEPEST_HD Vec<float> select(__mmask16 m, Vec<float> a, Vec<float> b) { return _mm512_mask_blend_ps(m, b.v, a.v); }
STEEPEST_HD Vec<double> select(__mmask8 m, Vec<double> a, Vec<double> b) { return _mm512_mask_blend_pd(m, b.v, a.v); }

STEEPEST_HD Vec<float> abs(Vec<float> a) { return _mm512_abs_ps(a.v); }
STEEPEST_HD Vec<double> abs(Vec<double> a) { return _mm512_abs_pd(a.v); }
STEEPEST_HD Vec<float> minus_abs(Vec<float> a) { return _mm512_or_ps(_mm512_set1_ps(-0.0f), a.v); }
STEEPEST_HD Vec<double> minus_abs(Vec<double> a) { return _mm512_or_pd(_mm512_set1_pd(-0.0), a.v); }
STEEPEST_HD Vec<float> sqrt(Vec<float> a) { return _mm512_sqrt_ps(a.v); }
STEEPEST_HD Vec<double> sqrt(Vec<double> a) { return _mm512_sqrt_pd(a.v); }

// a 2^n for integral n, with gradual underflow and overflow to infinity
STEEPEST_HD Vec<float> scale_by_power_of_two(Vec<float> a, Vec<float> n) { return _mm512_scalef_ps(a.v, n.v); }
STEEPEST_HD Vec<double> scale_by_power_of_two(Vec<double> a, Vec<double> n) { return _mm512_scalef_pd(a.v, n.v); }

// x = m 2^e with m in [1, 2), for positive normal x
STEEPEST_HD Vec<float> split_exponent(Vec<float> x, Vec<float>& e) {
    e = _mm512_getexp_ps(x.v);
    return _mm512_getmant_ps(x.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
}
STEEPEST_HD Vec<double> split_exponent(Vec<double> x, Vec<double>& e) {
    e = _mm512_getexp_pd(x.v);
    return _mm512_getmant_pd(x.v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_zero);
}

// The rounding error a b - product, for `product` = a b rounded.
template <class T>
STEEPEST_HD Vec<T> rounding_of_product(Vec<T> a, Vec<T> b, Vec<T> product) {
    return fma(a, b, -product);
}

// a / b within 1 ulp. The divider is the bottleneck where a square root also uses it. This runs beside it on the
// multipliers: a 14-bit reciprocal, one Newton step (2^-27), and one on the quotient.
STEEPEST_HD Vec<float> quotient(Vec<float> a, Vec<float> b) {
    const Vec<float> r0 = _mm512_rcp14_ps(b.v);
    const Vec<float> r = fma(r0, Vec<float>(_mm512_fnmadd_ps(b.v, r0.v, _mm512_set1_ps(1.0f))), r0);
    const Vec<float> q = a * r;
    return fma(Vec<float>(_mm512_fnmadd_ps(b.v, q.v, a.v)), r, q);
}
STEEPEST_HD Vec<double> quotient(Vec<double> a, Vec<double> b) { return a / b; }

// r[i] lane j becomes r[j] lane i: pairs, then quads of lanes are interleaved, then 128-bit blocks move.
STEEPEST_HD void transpose(Vec<float>* r) {
    __m512 u[4][4];
    for (int q = 0; q < 4; ++q) {
        const __m512 low01 = _mm512_unpacklo_ps(r[4 * q].v, r[4 * q + 1].v),
                     high01 = _mm512_unpackhi_ps(r[4 * q].v, r[4 * q + 1].v);
        const __m512 low23 = _mm512_unpacklo_ps(r[4 * q + 2].v, r[4 * q + 3].v);
        const __m512 high23 = _mm512_unpackhi_ps(r[4 * q + 2].v, r[4 * q + 3].v);
        const auto wide = [](__m512 x) { return _mm512_castps_pd(x); };
        u[q][0] = _mm512_castpd_ps(_mm512_unpacklo_pd(wide(low01), wide(low23)));
        u[q][1] = _mm512_castpd_ps(_mm512_unpackhi_pd(wide(low01), wide(low23)));
        u[q][2] = _mm512_castpd_ps(_mm512_unpacklo_pd(wide(high01), wide(high23)));
        u[q][3] = _mm512_castpd_ps(_mm512_unpackhi_pd(wide(high01), wide(high23)));
    }
    for (int j = 0; j < 4; ++j) {
        const __m512 even01 = _mm512_shuffle_f32x4(u[0][j], u[1][j], 0x88),
                     odd01 = _mm512_shuffle_f32x4(u[0][j], u[1][j], 0xDD);
        const __m512 even23 = _mm512_shuffle_f32x4(u[2][j], u[3][j], 0x88),
                     odd23 = _mm512_shuffle_f32x4(u[2][j], u[3][j], 0xDD);
        r[j] = _mm512_shuffle_f32x4(even01, even23, 0x88), r[8 + j] = _mm512_shuffle_f32x4(even01, even23, 0xDD);
        r[4 + j] = _mm512_shuffle_f32x4(odd01, odd23, 0x88), r[12 + j] = _mm512_shuffle_f32x4(odd01, odd23, 0xDD);
    }
}
STEEPEST_HD void transpose(Vec<double>* r) {
    __m512d u[4][2];
    for (int q = 0; q < 4; ++q) {
        u[q][0] = _mm512_unpacklo_pd(r[2 * q].v, r[2 * q + 1].v);
        u[q][1] = _mm512_unpackhi_pd(r[2 * q].v, r[2 * q + 1].v);
    }
    for (int j = 0; j < 2; ++j) {
        const __m512d even01 = _mm512_shuffle_f64x2(u[0][j], u[1][j], 0x88),
                      odd01 = _mm512_shuffle_f64x2(u[0][j], u[1][j], 0xDD);
        const __m512d even23 = _mm512_shuffle_f64x2(u[2][j], u[3][j], 0x88),
                      odd23 = _mm512_shuffle_f64x2(u[2][j], u[3][j], 0xDD);
        r[j] = _mm512_shuffle_f64x2(even01, even23, 0x88), r[4 + j] = _mm512_shuffle_f64x2(even01, even23, 0xDD);
        r[2 + j] = _mm512_shuffle_f64x2(odd01, odd23, 0x88), r[6 + j] = _mm512_shuffle_f64x2(odd01, odd23, 0xDD);
    }
}

// Whether a lane is NaN.
STEEPEST_HD bool any_nan(Vec<float> a) { return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q) != 0; }
STEEPEST_HD bool any_nan(Vec<double> a) { return _mm512_cmp_pd_mask(a.v, a.v, _CMP_UNORD_Q) != 0; }
// Whether a > b, or a is NaN and b is not.
STEEPEST_HD __mmask16 exceeds(Vec<float> a, Vec<float> b) {
    return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(b.v, b.v, _CMP_ORD_Q), a.v, b.v, _CMP_NLE_UQ);
}
STEEPEST_HD __mmask8 exceeds(Vec<double> a, Vec<double> b) {
    return _mm512_mask_cmp_pd_mask(_mm512_cmp_pd_mask(b.v, b.v, _CMP_ORD_Q), a.v, b.v, _CMP_NLE_UQ);
}

template <class T>
STEEPEST_HD Vec<T> load_bytes(const uint8_t* p, int n) {
    const __m128i bytes = _mm_maskz_loadu_epi8(static_cast<__mmask16>((1u << n) - 1u), p);
    if constexpr (sizeof(T) == 4)
        return Vec<float>(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)));
    else
        return Vec<double>(_mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(bytes)));
}
STEEPEST_HD void store_bytes(Vec<float> a, uint8_t* p, int n) {
    _mm512_mask_cvtepi32_storeu_epi8(p, Vec<float>::first(n), _mm512_cvtps_epi32(a.v));
}
STEEPEST_HD void store_bytes(Vec<double> a, uint8_t* p, int n) {
    _mm256_mask_cvtepi32_storeu_epi8(p, Vec<double>::first(n), _mm512_cvtpd_epi32(a.v));
}

template <class T>
struct Picker {
    __m512i lane;

    STEEPEST_HD explicit Picker(const int32_t* numbers) {
        if constexpr (sizeof(T) == 4)
            lane = _mm512_loadu_si512(numbers);
        else
            lane = _mm512_cvtepi32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(numbers)));
    }
    STEEPEST_HD Vec<T> operator()(Vec<T> a, Vec<T> b) const {
        if constexpr (sizeof(T) == 4)
            return _mm512_permutex2var_ps(a.v, lane, b.v);
        else
            return _mm512_permutex2var_pd(a.v, lane, b.v);
    }
};

STEEPEST_HD float reduce_add(Vec<float> a) { return _mm512_reduce_add_ps(a.v); }
STEEPEST_HD double reduce_add(Vec<double> a) { return _mm512_reduce_add_pd(a.v); }
STEEPEST_HD float reduce_max(Vec<float> a) { return _mm512_reduce_max_ps(a.v); }
STEEPEST_HD double reduce_max(Vec<double> a) { return _mm512_reduce_max_pd(a.v); }

// The lower and the upper half of the lanes, as float64.
STEEPEST_HD Vec<double> widen_low(Vec<float> a) { return _mm512_cvtps_pd(_mm512_castps512_ps256(a.v)); }
STEEPEST_HD Vec<double> widen_high(Vec<float> a) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1)); }

STEEPEST_HD double first_lane(Vec<double> a) { return _mm512_cvtsd_f64(a.v); }

// The sum of all lanes in float64.
STEEPEST_HD double reduce_add_wide(Vec<float> a) { return reduce_add(widen_low(a) + widen_high(a)); }
STEEPEST_HD double reduce_add_wide(Vec<double> a) { return _mm512_reduce_add_pd(a.v); }

// Vectors of half the width, for results that do not fill a whole one: processors that compute wide vectors in halves take
// half the time for them. They have what the register tile of the matrix product needs.
template <class T>
struct NarrowVec;

template <>
struct NarrowVec<float> {
    static constexpr int kSize = 8;
    __m256 v;

    NarrowVec() = default;
    STEEPEST_HD NarrowVec(__m256 x) : v(x) {}
    STEEPEST_HD explicit NarrowVec(float x) : v(_mm256_set1_ps(x)) {}
    static STEEPEST_HD __mmask8 first(int n) { return static_cast<__mmask8>((1u << n) - 1u); }
    static STEEPEST_HD NarrowVec load(const float* p) { return _mm256_loadu_ps(p); }
    static STEEPEST_HD NarrowVec load(const float* p, int n) { return _mm256_maskz_loadu_ps(first(n), p); }
    STEEPEST_HD void store(float* p) const { _mm256_storeu_ps(p, v); }
    STEEPEST_HD void store(float* p, int n) const { _mm256_mask_storeu_ps(p, first(n), v); }
};

template <>
struct NarrowVec<double> {
    static constexpr int kSize = 4;
    __m256d v;

    NarrowVec() = default;
    STEEPEST_HD NarrowVec(__m256d x) : v(x) {}
    STEEPEST_HD explicit NarrowVec(double x) : v(_mm256_set1_pd(x)) {}
    static STEEPEST_HD __mmask8 first(int n) { return static_cast<__mmask8>((1u << n) - 1u); }
    static STEEPEST_HD NarrowVec load(const double* p) { return _mm256_loadu_pd(p); }
    static STEEPEST_HD NarrowVec load(const double* p, int n) { return _mm256_maskz_loadu_pd(first(n), p); }
    STEEPEST_HD void store(double* p) const { _mm256_storeu_pd(p, v); }
    STEEPEST_HD void store(double* p, int n) const { _mm256_mask_storeu_pd(p, first(n), v); }
};

STEEPEST_HD NarrowVec<float> operator+(NarrowVec<float> a, NarrowVec<float> b) { return _mm256_add_ps(a.v, b.v); }
STEEPEST_HD NarrowVec<double> operator+(NarrowVec<double> a, NarrowVec<double> b) { return _mm256_add_pd(a.v, b.v); }
STEEPEST_HD NarrowVec<float> fma(NarrowVec<float> a, NarrowVec<float> b, NarrowVec<float> c) {
    return _mm256_fmadd_ps(a.v, b.v, c.v);
}
STEEPEST_HD NarrowVec<double> fma(NarrowVec<double> a, NarrowVec<double> b, NarrowVec<double> c) {
    return _mm256_fmadd_pd(a.v, b.v, c.v);
}

// The accumulators of the matrix product's register tile: kTileRows rows of kTileVectors vectors.
constexpr int kTileRows = 14;
constexpr int kTileVectors = 2;

}  // namespace STEEPEST_TARGET
}  // namespace steepest
