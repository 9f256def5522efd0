// The squared norms of per-sample gradients of a layer x @ w + b, the diagonal of the result of gradient_gram:
//     out[i r + s] = (|x_i|^2 + [bias]) |d_is|^2,   d_is is row i r + s of d,
// in float64. The gradients are not formed; x and d are read once.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct GradientNorms {
    static constexpr const char* kName = "gradient_norms";
    MatrixView<const T> x;    // (n, p)
    MatrixView<const T> d;    // (n r, m)
    bool bias = false;        // whether the layer has a bias b
    bool accumulate = false;  // whether to add to out
    VectorView<double> out;   // (n r,), disjoint from x and d

    // The number of rows of d for each sample.
    int64_t repeats() const { return x.rows > 0 ? d.rows / x.rows : 1; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "d", d), v(accumulate ? kUpdate : kWrite, "out", out);
    }

    void check() const {
        const bool fits = x.rows > 0 ? d.rows > 0 && d.rows % x.rows == 0 : d.rows == 0;
        require(fits, kName, "d has shape ", shape_of(d), ", but x has ", x.rows,
                " rows: d must have the same number of rows, at least 1, for each row of x");
        require(out.size == d.rows, kName, "out has shape ", shape_of(out), ", but the result has shape (", d.rows,
                ",)");
    }

    double flops() const { return 2.0 * x.rows * x.cols + 2.0 * d.rows * (d.cols + 1); }
};

}  // namespace steepest::ops
