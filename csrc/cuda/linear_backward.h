// The two products of a linear layer's backward pass.
#pragma once

#include "cuda/gemm.h"
#include "ops/linear_backward.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The product that gives d_w. It also gives d_b: it reads all of d_out, and sums its columns on the way.
template <class T>
GemmCall<T> weight_gradient(const ops::LinearBackward<T>& op) {
    GemmCall<T> call;
    call.a = op.x.transposed(), call.b = op.d_out, call.c = op.d_w, call.precision = op.precision;
    call.b_sums = op.d_b, call.accumulate = op.accumulate;
    if (op.l2 != 0) call.addend = op.w, call.scale = static_cast<T>(op.l2);
    return call;
}

template <class T>
GemmCall<T> input_gradient(const ops::LinearBackward<T>& op) {
    GemmCall<T> call;
    call.a = op.d_out, call.b = op.w.transposed(), call.c = op.d_x, call.precision = op.precision;
    if (!op.activation.is_identity()) call.output = op.x, call.activation = op.activation;
    return call;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
