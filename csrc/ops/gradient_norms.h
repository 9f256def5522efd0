// The squared norms of the gradients of single samples for a layer x @ w + b, the diagonal of what gradient_gram gives:
//     out[i r + s] = (|x_i|^2 + [bias]) |d_is|^2,   d_is row i r + s of d,
// in float64. Nothing is formed; x and d are read once.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct GradientNorms {
    static constexpr const char* kName = "gradient_norms";
    MatrixView<const T> x;    // (n, p)
    MatrixView<const T> d;    // (n r, m)
    bool bias = false;        // whether the layer has one
    bool accumulate = false;  // add to what out holds
    VectorView<double> out;   // (n r,), apart from x and d

    // Rows of d for each sample.
    int64_t repeats() const { return x.rows > 0 ? d.rows / x.rows : 1; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "d", d), v(accumulate ? kUpdate : kWrite, "out", out);
    }

    void check() const {
        const bool fits = x.rows > 0 ? d.rows > 0 && d.rows % x.rows == 0 : d.rows == 0;
        require(fits, kName, "d has shape ", shape_of(d), ", but x has ", x.rows,
                " rows: d must have one or more for each of them");
        require(out.size == d.rows, kName, "out has shape ", shape_of(out), ", but the result has shape (", d.rows,
                ",)");
    }

    double flops() const { return 2.0 * x.rows * x.cols + 2.0 * d.rows * (d.cols + 1); }
};

}  // namespace steepest::ops
