// The gradients of out = x @ w + b, given d_out = dL/d(out):
//     d_w = x.T @ d_out + l2 w,   d_b = column sums of d_out,   d_x = (d_out @ w.T) * f'(x)
// where f is the activation that produced x. f' is evaluated at the output of f, which is x, so a chain of layers needs
// no separate operation for the derivative of the activation. With `accumulate` the gradients are added to d_w and d_b:
// for weights that several layers share, or for a batch in pieces.
#pragma once

#include "common/activations.h"
#include "common/precision.h"
#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct LinearBackward {
    static constexpr const char* kName = "linear_backward";
    MatrixView<const T> d_out;  // (n, n_out)
    MatrixView<const T> x;      // (n, n_in)
    MatrixView<const T> w;      // (n_in, n_out)
    MatrixView<T> d_x;          // (n, n_in) or absent
    MatrixView<T> d_w;          // (n_in, n_out)
    VectorView<T> d_b;          // (n_out,)
    Activation activation;
    double l2 = 0;
    Precision precision = Precision::kFloat32;
    bool accumulate = false;  // whether to add to d_w and d_b

    template <class Visitor>
    void visit(Visitor&& v) const {
        const Use gradients = accumulate ? kUpdate : kWrite;
        v(kRead, "d_out", d_out), v(kRead, "x", x), v(kRead, "w", w);
        v(kWrite, "d_x", d_x), v(gradients, "d_w", d_w), v(gradients, "d_b", d_b);
    }

    void check() const {
        require(x.cols == w.rows && d_out.cols == w.cols && d_out.rows == x.rows, kName, "d_out has shape ",
                shape_of(d_out), ", x has shape ", shape_of(x), " and w has shape ", shape_of(w),
                ": they must be (n, n_out), (n, n_in) and (n_in, n_out)");
        require_same_shape(kName, "d_w", d_w, "w", w);
        require(d_b.size == w.cols, kName, "d_b has shape ", shape_of(d_b), ", but w has ", w.cols, " columns");
        if (d_x) require_same_shape(kName, "d_x", d_x, "x", x);
        const ActivationInfo& info = info_of(activation.kind);
        require(info.derivative_at == DerivativeAt::kOutput, kName, "the derivative of ", info.name,
                " cannot be computed from its output, x: pass activation='identity', then call activation_backward");
    }

    double flops() const { return (d_x ? 4.0 : 2.0) * x.rows * x.cols * w.cols; }
};

}  // namespace steepest::ops
