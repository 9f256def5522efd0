// The directional derivative of a layer y = f(x @ w + b), in forward mode:
//     out = (x @ v + c + dx @ w) * f'(.)
// for a direction (v, c) of its parameters, and dx, the derivative of its input. f' is evaluated at the output y, as in
// the backward pass.
#pragma once

#include "common/activations.h"
#include "common/precision.h"
#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct LinearTangent {
    static constexpr const char* kName = "linear_tangent";
    MatrixView<const T> x;   // (n, n_in)
    MatrixView<const T> v;   // (n_in, n_out)
    VectorView<const T> c;   // (n_out,) or absent
    MatrixView<const T> dx;  // (n, n_in) or absent
    MatrixView<const T> w;   // (n_in, n_out), or absent if dx is
    MatrixView<const T> y;   // (n, n_out), or absent if f is the identity
    MatrixView<T> out;       // (n, n_out), disjoint from all others
    Activation activation;
    Precision precision = Precision::kFloat32;

    template <class Visitor>
    void visit(Visitor&& visitor) const {
        visitor(kRead, "x", x), visitor(kRead, "v", v), visitor(kRead, "c", c), visitor(kRead, "dx", dx);
        visitor(kRead, "w", w), visitor(kRead, "y", y), visitor(kWrite, "out", out);
    }

    void check() const {
        require(x.cols == v.rows, kName, "x has shape ", shape_of(x), " and v has shape ", shape_of(v),
                ": the columns of x must be the rows of v");
        require(!c || c.size == v.cols, kName, "c has shape ", shape_of(c), ", but v has ", v.cols, " columns");
        require(static_cast<bool>(dx) == static_cast<bool>(w), kName,
                "dx and w go together, but one of them is missing");
        if (dx) require_same_shape(kName, "dx", dx, "x", x);
        if (w) require_same_shape(kName, "w", w, "v", v);
        const ActivationInfo& info = info_of(activation.kind);
        require(info.derivative_at == DerivativeAt::kOutput, kName, "the derivative of ", info.name,
                " cannot be computed from its output, y: pass activation='identity', then call activation_backward");
        require(y || activation.is_identity(), kName, "y is needed for the derivative of ", info.name);
        require(!y || (y.rows == x.rows && y.cols == v.cols), kName, "y has shape ", shape_of(y),
                ", but the result has shape (", x.rows, ", ", v.cols, ")");
        require(out.rows == x.rows && out.cols == v.cols, kName, "out has shape ", shape_of(out),
                ", but the result has shape (", x.rows, ", ", v.cols, ")");
    }

    double flops() const { return (dx ? 4.0 : 2.0) * x.rows * x.cols * v.cols; }
};

}  // namespace steepest::ops
