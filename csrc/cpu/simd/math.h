// Elementary functions on vectors.
#pragma once

#include "common/polynomial.h"
#include "cpu/simd/vec.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Minimax coefficients (Remez) of q in exp(r) - 1 = r + r² q(r) for |r| <= ln(2)/2; the error is 3e-9 and 3e-18.
template <class T>
struct ExpConstants;

template <>
struct ExpConstants<float> {
    static constexpr float kLowest = -120.0f, kHighest = 89.0f;  // below: 0, even times 1e6; above: infinity
    // ln 2 in two parts; the product of the first with an exponent is exact.
    static constexpr float kLn2High = 0x1.62e4p-1f, kLn2Low = 1.42860682030941723212e-6f;
    static constexpr int kTerms = 5;
    static constexpr float kQ[kTerms] = {1.3950489639436026e-3f, 8.3688893954236906e-3f, 4.1666205838289039e-2f,
                                         1.6666518839222148e-1f, 5.0000000951636756e-1f};
};

template <>
struct ExpConstants<double> {
    static constexpr double kLowest = -770.0, kHighest = 710.0;
    static constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 1.90821492927058770002e-10;
    static constexpr int kTerms = 10;
    static constexpr double kQ[kTerms] = {2.5117838581429238399e-8, 2.763128046012734863e-7,  2.755721636846848695e-6,
                                          2.4801489941816000076e-5, 1.9841269917314115014e-4, 1.3888888947016396627e-3,
                                          8.333333333307232414e-3,  4.1666666666515416048e-2, 1.6666666666666699034e-1,
                                          5.0000000000000127418e-1};
};

// x = n ln 2 + r; returns r.
template <class T>
STEEPEST_HD Vec<T> reduce_by_ln2(Vec<T> x, Vec<T>& n) {
    using K = ExpConstants<T>;
    using V = Vec<T>;
    // Adding 1.5 2^23 (1.5 2^52) rounds to an integer, in one operation with the product.
    const V shift(sizeof(T) == 4 ? 0x1.8p23 : 0x1.8p52);
    n = fma(x, V(1.4426950408889634074), shift) - shift;
    return fma(n, V(-K::kLn2Low), fma(n, V(-K::kLn2High), x));
}

// exp(r) - 1 for |r| <= ln(2)/2.
template <class T>
STEEPEST_HD Vec<T> expm1_near_0(Vec<T> r) {
    using K = ExpConstants<T>;
    Vec<T> q(K::kQ[0]);
    for (int i = 1; i < K::kTerms; ++i) q = fma(q, r, Vec<T>(K::kQ[i]));
    return fma(q, r * r, r);
}

// exp(r) for |r| <= ln(2)/2.
template <class T>
STEEPEST_HD Vec<T> exp_near_0(Vec<T> r) {
    using K = ExpConstants<T>;
    Vec<T> q(K::kQ[0]);
    for (int i = 1; i < K::kTerms; ++i) q = fma(q, r, Vec<T>(K::kQ[i]));
    return fma(fma(q, r, Vec<T>(1)), r, Vec<T>(1));
}

// exp(x) to about 1 ulp (at most 1.02 in a sample of all float32 arguments, with AVX-512); the order of the clamp's
// arguments propagates NaN.
template <class T>
STEEPEST_HD Vec<T> exp(Vec<T> x) {
    using V = Vec<T>;
    V n;
    const V clamped = min(V(ExpConstants<T>::kHighest), max(V(ExpConstants<T>::kLowest), x));
    const V r = reduce_by_ln2(clamped, n);
    return scale_by_power_of_two(exp_near_0(r), n);
}

// exp(x) for x <= 0, as accurate as exp.
template <class T>
STEEPEST_HD Vec<T> exp_nonpositive(Vec<T> x) {
    using V = Vec<T>;
    V n;
    const V r = reduce_by_ln2(max(V(ExpConstants<T>::kLowest), x), n);
    return scale_by_power_of_two(exp_near_0(r), n);
}

// exp(x) for x <= 0 as 2^n (1 + p). Its product with another number is rounded once, even below the normal range.
template <class T>
struct FactoredExp {
    Vec<T> n, p;

    STEEPEST_HD Vec<T> value() const { return scale_by_power_of_two(Vec<T>(1) + p, n); }
    STEEPEST_HD Vec<T> times(Vec<T> a) const { return scale_by_power_of_two(fma(a, p, a), n); }
};

template <class T>
STEEPEST_HD FactoredExp<T> factored_exp(Vec<T> x) {
    FactoredExp<T> e;
    e.p = expm1_near_0(reduce_by_ln2(max(Vec<T>(ExpConstants<T>::kLowest), x), e.n));
    return e;
}

// exp(x + rest) for a rest far below 1.
template <class T>
STEEPEST_HD FactoredExp<T> factored_exp(Vec<T> x, Vec<T> rest) {
    FactoredExp<T> e;
    e.p = expm1_near_0(reduce_by_ln2(max(Vec<T>(ExpConstants<T>::kLowest), x), e.n) + rest);
    return e;
}

// exp(x) - 1 without cancellation near 0, for x <= 80; -0 keeps its sign.
template <class T>
STEEPEST_HD Vec<T> expm1(Vec<T> x) {
    using V = Vec<T>;
    V n;
    const V p = expm1_near_0(reduce_by_ln2(max(V(-80), x), n));
    const V power = scale_by_power_of_two(V(1), n);
    return select(x == V(0), x, fma(p, power, power - V(1)));
}

// log(x) for positive normal x: with x = m 2^e, sqrt(1/2) < m <= sqrt(2) and s = (m - 1) / (m + 1),
// log(m) = 2 (s + s³/3 + s⁵/5 + ...), |s| <= 0.172.
template <class T>
STEEPEST_HD Vec<T> log_positive(Vec<T> x) {
    using V = Vec<T>;
    V e;
    V m = split_exponent(x, e);
    const auto large = m > V(1.4142135623730951);
    m = select(large, m * V(0.5), m);
    e = select(large, e + V(1), e);
    const V s = (m - V(1)) / (m + V(1));
    const V z = s * s;
    constexpr int kTerms = sizeof(T) == 4 ? 5 : 11;
    V series(1.0 / (2 * kTerms + 1));
    for (int k = kTerms - 1; k >= 1; --k) series = fma(series, z, V(1.0 / (2 * k + 1)));
    const V tail = fma(s * z, series * V(2), e * V(ExpConstants<T>::kLn2Low));
    return fma(e, V(ExpConstants<T>::kLn2High), s + s + tail);
}

// log(1 + e) for 0 <= e <= 1, without cancellation near 0. With t = 2 e / (2 + e) it is 2 artanh(t / 2), computed as t
// times a minimax polynomial in (t / 2)² <= 1/9, whose error is 1e-10 (1e-18).
template <class T>
STEEPEST_HD Vec<T> log1p_unit(Vec<T> e) {
    using V = Vec<T>;
    const V t = (e + e) / (V(2) + e), half = t * V(0.5), z = half * half;
    V series;
    if constexpr (sizeof(T) == 4)
        series = polynomial(z, 0.3333333744741159996, 0.19999465266291907876, 0.14307805946361375423,
                            0.10720096052111087879, 0.1212873106652335268);
    else
        series = artanh_tail(z);
    return fma(t * z, series, t);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
