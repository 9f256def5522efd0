// The exponent of the tanh form of GELU, on vectors and CUDA lanes alike.
#pragma once

#include "common/macros.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u)) with 2 u = 2 sqrt(2 / pi) (x + 0.044715 x³) = x (a + b x²). In the tail, the
// rounding error of 2 u would become a relative error of exp(-2 |u|), so it is computed, too.
template <class V>
struct GeluTanhExponent;

template <template <class> class V, class T>
struct GeluTanhExponent<V<T>> {
    static constexpr double kRange = sizeof(T) == 4 ? 12 : 24;  // for larger |x|, x exp(-2 |u|) is 0
    static constexpr double kA = 1.59576912160573071176, kB = 0.0713548162726002487764;

    V<T> distance;  // |x|, clipped to the range; NaN stays NaN
    V<T> down;      // -2 |u|
    V<T> rest;      // the rounding error of `down`
    V<T> slope;     // d(2 u) / dx = a + 3 b x²

    explicit STEEPEST_HD GeluTanhExponent(V<T> x) : distance(min(V<T>(kRange), abs(x))) {
        const V<T> a(kA), b(kB), square = distance * distance, product = b * square, sum = a + product;
        // The error of a sum (Knuth) and of the two products in it, with what the constants have lost.
        const V<T> added = sum - a;
        V<T> error = (a - (sum - added)) + (product - added);
        error = error + rounding_of_product(b, square, product) + V<T>(kALost);
        error = fma(b, rounding_of_product(distance, distance, square), fma(V<T>(kBLost), square, error));
        const V<T> up = distance * sum;
        down = -up;
        rest = -fma(distance, error, rounding_of_product(distance, sum, up));
        slope = fma(product, V<T>(2), sum);
    }

  private:
    // The constants less their values in T.
    static constexpr double kALost = sizeof(T) == 4 ? kA - static_cast<T>(kA) : -9.9693088091109203e-17;
    static constexpr double kBLost = sizeof(T) == 4 ? kB - static_cast<T>(kB) : -6.1751499181553155e-19;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
