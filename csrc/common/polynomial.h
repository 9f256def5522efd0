#pragma once

#include "common/macros.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// c0 + c1 x + c2 x² + ... by Horner's rule, on vectors and CUDA lanes alike.
template <class V>
STEEPEST_HD V polynomial(V, double c0) {
    return V(c0);
}
template <class V, class... Rest>
STEEPEST_HD V polynomial(V x, double c0, Rest... rest) {
    return fma(polynomial(x, rest...), x, V(c0));
}

// artanh(s) = s (1 + s² tail(s²)) for s² <= 1/9, in float64: a minimax polynomial, whose error is 1e-18.
template <class V>
STEEPEST_HD V artanh_tail(V square) {
    return polynomial(square, 0.33333333333333208958, 0.20000000000062227372, 0.14285714275667457905,
                      0.11111111890545879967, 0.090908749293323217183, 0.076932225920083277117, 0.06651178959487628087,
                      0.06047963132583124216, 0.041908037563778276327, 0.084730957200220673034);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
