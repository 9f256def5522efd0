// The Gram matrix of per-sample gradients of a layer x @ w + b. Row i r + s of d, named d_is, is a gradient with
// respect to the layer's outputs for sample i. The gradient with respect to w is the outer product of x_i and d_is; the
// gradient with respect to b is d_is. Without forming these gradients, the result is
//     out[(i, s), (j, t)] = (<x_i, x_j> + [bias]) <d_is, d_jt>.
// Both inner products of float32 are summed in float32 over some hundreds of columns at a time, and these sums in
// float64.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct GradientGram {
    static constexpr const char* kName = "gradient_gram";
    MatrixView<const T> x;         // (n, p)
    MatrixView<const T> d;         // (n r, m)
    bool bias = false;             // whether the layer has a bias b
    bool accumulate = false;       // whether to add to out, which is symmetric
    MatrixView<double> out;        // (n r, n r), disjoint from x and d
    VectorView<double> workspace;  // at least workspace_items() long

    // The number of rows of d for each sample.
    int64_t repeats() const { return x.rows > 0 ? d.rows / x.rows : 1; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "d", d), v(accumulate ? kUpdate : kWrite, "out", out);
        v(kWrite, "workspace", workspace);
    }

    void check() const {
        const bool fits = x.rows > 0 ? d.rows > 0 && d.rows % x.rows == 0 : d.rows == 0;
        require(fits, kName, "d has shape ", shape_of(d), ", but x has ", x.rows,
                " rows: d must have the same number of rows, at least 1, for each row of x");
        require(out.rows == d.rows && out.cols == d.rows, kName, "out has shape ", shape_of(out),
                ", but the result has shape (", d.rows, ", ", d.rows, ")");
    }

    // The size of the workspace in numbers of float64. A GPU stores the products <x_i, x_j> if several items of out
    // need each of them.
    template <bool OnGpu>
    int64_t workspace_items() const {
        return OnGpu && repeats() > 1 ? x.rows * x.rows : 0;
    }

    double flops() const { return 1.0 * x.rows * x.rows * x.cols + 1.0 * d.rows * d.rows * (d.cols + 2); }
};

}  // namespace steepest::ops
