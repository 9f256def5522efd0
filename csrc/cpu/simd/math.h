// Elementary functions on vectors.
#pragma once

#include <limits>

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

// x = n ln 2 + r; returns r but for the lower part of n ln 2, without a rounding error.
template <class T>
STEEPEST_HD Vec<T> reduce_by_high_ln2(Vec<T> x, Vec<T>& n) {
    using V = Vec<T>;
    // Adding 1.5 2^23 (1.5 2^52) rounds to an integer, in one operation with the product.
    const V shift(sizeof(T) == 4 ? 0x1.8p23 : 0x1.8p52);
    n = fma(x, V(1.4426950408889634074), shift) - shift;
    return fma(n, V(-ExpConstants<T>::kLn2High), x);
}

// x = n ln 2 + r; returns r.
template <class T>
STEEPEST_HD Vec<T> reduce_by_ln2(Vec<T> x, Vec<T>& n) {
    const Vec<T> high = reduce_by_high_ln2(x, n);
    return fma(n, Vec<T>(-ExpConstants<T>::kLn2Low), high);
}

// q in exp(r) - 1 = r + r² q(r).
template <class T>
STEEPEST_HD Vec<T> exp_series(Vec<T> r) {
    using K = ExpConstants<T>;
    Vec<T> q(K::kQ[0]);
    for (int i = 1; i < K::kTerms; ++i) q = fma(q, r, Vec<T>(K::kQ[i]));
    return q;
}

// exp(r) - 1 for |r| <= ln(2)/2.
template <class T>
STEEPEST_HD Vec<T> expm1_near_0(Vec<T> r) {
    return fma(exp_series(r), r * r, r);
}

// The same for r in two parts, the lower of which is a rounding error of the higher.
template <class T>
STEEPEST_HD Vec<T> expm1_near_0(Vec<T> high, Vec<T> low) {
    const Vec<T> r = high + low;
    return high + fma(exp_series(r), r * r, low);
}

// exp(x) within 1 ulp (at most 0.91 in float32); the order of the clamp's arguments propagates NaN.
template <class T>
STEEPEST_HD Vec<T> exp(Vec<T> x) {
    using V = Vec<T>;
    V n;
    const V clamped = min(V(ExpConstants<T>::kHighest), max(V(ExpConstants<T>::kLowest), x));
    const V high = reduce_by_high_ln2(clamped, n);
    return scale_by_power_of_two(V(1) + expm1_near_0(high, n * V(-ExpConstants<T>::kLn2Low)), n);
}

// exp(x) for x <= 0 to about 1 ulp (at most 1.02 in a sample of all float32 arguments, with AVX-512).
template <class T>
STEEPEST_HD Vec<T> exp_nonpositive(Vec<T> x) {
    using V = Vec<T>;
    V n;
    const V r = reduce_by_ln2(max(V(ExpConstants<T>::kLowest), x), n);
    return scale_by_power_of_two(fma(fma(exp_series(r), r, V(1)), r, V(1)), n);
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

// exp(x + rest) - 1 within 1 ulp, for x from -80 to 0 and a rest that is a rounding error of x.
template <class T>
STEEPEST_HD Vec<T> expm1_nonpositive(Vec<T> x, Vec<T> rest) {
    using V = Vec<T>;
    V n;
    const V high = reduce_by_high_ln2(x, n);
    const V p = expm1_near_0(high, fma(n, V(-ExpConstants<T>::kLn2Low), rest)), power = scale_by_power_of_two(V(1), n);
    return fma(p, power, power - V(1));
}

// log(x) - shift ln 2 for positive normal x. With x = m 2^e, 2/3 < m <= 4/3 and f = m - 1, log(m) is
//     f + f² (-1/2 + f times a minimax polynomial of relative error 5e-9) in float32, and in float64
//     f - (f²/2 - s (f²/2 + 2 s² artanh_tail(s²))) with s = f / (2 + f).
// All terms but f and e ln 2 are small, so that their rounding errors are.
template <class T>
STEEPEST_HD Vec<T> log_shifted(Vec<T> x, Vec<T> shift) {
    using V = Vec<T>;
    V e;
    V m = split_exponent(x, e);
    e = e - shift;
    const auto large = m > V(4.0 / 3);
    m = select(large, m * V(0.5), m);
    e = select(large, e + V(1), e);
    const V f = m - V(1), square = f * f, low = e * V(ExpConstants<T>::kLn2Low);
    V rest;
    if constexpr (sizeof(T) == 4) {
        const V even = polynomial(square, 0.33333215963157967837, 0.20010409501857905305, 0.14005770354646380632,
                                  0.13985102747392249172);
        const V odd = polynomial(square, -0.24999795968851036721, -0.16680572229919197126, -0.12182958902216318267,
                                 -0.12897936940373396494);
        rest = fma(square, fma(f, fma(f, odd, even), V(-0.5)), low);
    } else {
        const V half = square * V(0.5), s = f / (V(2) + f), z = s * s;
        rest = fma(s, fma(z + z, artanh_tail(z), half), low) - half;
    }
    return fma(e, V(ExpConstants<T>::kLn2High), f + rest);
}

// log(x) for positive normal x.
template <class T>
STEEPEST_HD Vec<T> log_positive(Vec<T> x) {
    return log_shifted(x, Vec<T>(0));
}

// log(x) within 1 ulp: -inf at 0, NaN below 0. Vectors without an item below the normal range are computed faster.
template <class T>
STEEPEST_HD Vec<T> log(Vec<T> x) {
    using V = Vec<T>;
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const V lowest(std::numeric_limits<T>::min());
    V y;
    if (any_greater(lowest, x)) {
        constexpr double kSteps = sizeof(T) == 4 ? 24 : 54;  // lift subnormal numbers into the normal range
        const V lift(sizeof(T) == 4 ? 0x1p24 : 0x1p54);
        const auto small = lowest > x;
        const V outside = select(x == V(0), V(-kInfinity), V(std::numeric_limits<double>::quiet_NaN()));
        y = log_shifted(select(small, x * lift, x), select(small, V(kSteps), V(0)));
        y = select(x > V(0), y, outside);
    } else {
        y = log_positive(x);
    }
    return select(V(kInfinity) > x, y, x + x);  // infinity and NaN stay
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

// erf(x) within 1.4 ulp (1.6 where fma rounds twice): exp(t (1 + h(t))) - 1 with t = -|x|, an odd function. h is a
// minimax polynomial on [-4, 0] ([-6, 0] in float64), with which the relative error of the result is 4e-10 (2e-17).
// Beyond, the result is 1. The even and the odd powers of h are two chains of operations, which overlap.
template <class T>
STEEPEST_HD Vec<T> erf(Vec<T> x) {
    using V = Vec<T>;
    const V t = max(V(sizeof(T) == 4 ? -4 : -6), minus_abs(x));  // the order of the arguments propagates NaN
    const V square = t * t;
    V even, odd;
    if constexpr (sizeof(T) == 4) {
        even = polynomial(square, 0.12837916662787776983, 0.102771277184521871, -0.00025306081731839349704,
                          -0.00074068564450246481848, -0.000021354558225628767201);
        odd = polynomial(square, -0.6366198345738225984, 0.019117694983165938805, -0.0017993535442833113886,
                         -0.00016748082583123652085, -1.1932947527020210304e-6);
    } else {
        even = polynomial(square, 0.1283791670955125495, 0.10277260330131547626, -0.00020919485391337288931,
                          -0.00059013242963972051575, 0.000064420478877234672496, 3.1696967114816183816e-6,
                          -2.0371601229585629749e-6, -1.1696117745702630041e-8, 3.4586929148861706689e-8,
                          2.3606506059690377898e-9, 4.30207230656069534e-11, 1.6149988882345175777e-13);
        odd = polynomial(square, -0.63661977236759096716, 0.019128446993095438797, -0.0016962076697824498995,
                         -0.000025904497546905950116, 0.000029575682913501395434, -3.1329318376213954023e-6,
                         -5.706117009207128777e-7, 6.5739169639395678638e-8, 1.0773954515416432958e-8,
                         3.7609423940027449786e-10, 3.3645940719817189665e-12, 3.5925047348568853321e-15);
    }
    const V h = fma(t, odd, even), sum = fma(t, h, t);
    const V below = expm1_nonpositive(sum, fma(t, h, t - sum));
    return select(x == V(0), x, select(x > V(0), -below, below));
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
