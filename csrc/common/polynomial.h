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

}  // namespace STEEPEST_TARGET
}  // namespace steepest
