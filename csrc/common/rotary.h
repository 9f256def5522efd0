// Rotary position encoding: the angles by which pairs of items are rotated, their sines and cosines, and the rotation.
#pragma once

#include <cmath>

#include "common/polynomial.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The angle of pair j of a head of `size` items, for each position.
STEEPEST_HD double rotary_frequency(double base, int64_t j, int64_t size) {
    return std::pow(base, -2.0 * static_cast<double>(j) / static_cast<double>(size));
}

template <class V>
struct SineCosine {
    V sine, cosine;
};

// In float64, for vectors and CUDA lanes alike, with the same bits. The absolute error is 2 eps up to a magnitude of
// 1.6e6, where products with the first part of pi/2 are exact; beyond, it is as large as the rounding of the angle.
template <class V>
STEEPEST_HD SineCosine<V> sine_cosine(V angle) {
    constexpr double kHalfPi = 1.57079632679489661923;
    constexpr double kHigh = 0x1.921fb544p0, kLow = 6.07710050650619224932e-11;  // pi/2; the first has 33 bits
    const V shift(0x1.8p52);  // adding and subtracting it rounds to an integer
    const V quarters = (angle * V(1 / kHalfPi) + shift) - shift;
    const V r = (angle - quarters * V(kHigh)) - quarters * V(kLow), square = r * r;
    // Taylor's series; what is left out is below 1e-17 for |r| <= pi/4.
    const V tail = polynomial(square, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800,
                              -1.0 / 1307674368000, 1.0 / 355687428096000);
    const V sine = r + r * square * tail;
    const V cosine = V(1.0) + square * polynomial(square, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800,
                                                  1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000);
    // An odd number of quarter turns exchanges the two, and two turn both around.
    const V turn = quarters - V(4.0) * ((quarters * V(0.25) + shift) - shift);  // one of -2 .. 2
    const V size = abs(turn);
    const auto odd = size == V(1.0), half = size == V(2.0);
    const V s = select(odd, cosine, sine), c = select(odd, sine, cosine);
    return {select(half, -s, select(turn == V(-1.0), -s, s)), select(half, -c, select(turn == V(1.0), -c, c))};
}

// Rotates the pair (a, b): by the angle or, with the sine of the opposite sign, back.
template <class V>
STEEPEST_HD void rotate(V& a, V& b, V sine, V cosine) {
    const V first = a;
    a = first * cosine - b * sine;
    b = b * cosine + first * sine;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
