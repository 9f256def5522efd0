// out = f(x @ w + b): a linear layer and its activation in one pass.
#pragma once

#include "common/activations.h"
#include "common/precision.h"
#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct Linear {
    static constexpr const char* kName = "linear";
    MatrixView<const T> x;  // (n, n_in)
    MatrixView<const T> w;  // (n_in, n_out)
    VectorView<const T> b;  // (n_out,) or absent
    MatrixView<T> out;      // (n, n_out), disjoint from x, w and b
    Activation activation;
    Precision precision = Precision::kFloat32;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "w", w), v(kRead, "b", b), v(kWrite, "out", out);
    }

    void check() const {
        require(x.cols == w.rows, kName, "x has shape ", shape_of(x), " and w has shape ", shape_of(w),
                ": the columns of x must be the rows of w");
        require(!b || b.size == w.cols, kName, "b has shape ", shape_of(b), ", but w has ", w.cols, " columns");
        require(out.rows == x.rows && out.cols == w.cols, kName, "out has shape ", shape_of(out),
                ", but the result has shape (", x.rows, ", ", w.cols, ")");
    }

    double flops() const { return 2.0 * x.rows * x.cols * w.cols; }
};

}  // namespace steepest::ops
