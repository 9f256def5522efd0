// The products of the gradients of single samples with one another, for a layer x @ w + b. Row (i, s) of d, number i r + s,
// is a gradient with respect to the layer's outputs for sample i; that with respect to w is the outer product of x_i and
// d_is, and that with respect to b is d_is. Without forming them,
//     out[(i, s), (j, t)] = (<x_i, x_j> + [bias]) <d_is, d_jt>.
// Both products of float32 are added up in float32 over some hundreds of columns, and float64 from there on.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct GradientGram {
    static constexpr const char* kName = "gradient_gram";
    MatrixView<const T> x;         // (n, p)
    MatrixView<const T> d;         // (n r, m)
    bool bias = false;             // whether the layer has one
    bool accumulate = false;       // add to what out holds, which is symmetric
    MatrixView<double> out;        // (n r, n r), apart from x and d
    VectorView<double> workspace;  // of at least the items that the device needs

    // Rows of d for each sample.
    int64_t repeats() const { return x.rows > 0 ? d.rows / x.rows : 1; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "d", d), v(accumulate ? kUpdate : kWrite, "out", out);
        v(kWrite, "workspace", workspace);
    }

    void check() const {
        const bool fits = x.rows > 0 ? d.rows > 0 && d.rows % x.rows == 0 : d.rows == 0;
        require(fits, kName, "d has shape ", shape_of(d), ", but x has ", x.rows,
                " rows: d must have one or more for each of them");
        require(out.rows == d.rows && out.cols == d.rows, kName, "out has shape ", shape_of(out),
                ", but the result has shape (", d.rows, ", ", d.rows, ")");
    }

    // float64 numbers. A GPU keeps the products of the inputs, where several items need each of them.
    template <bool OnGpu>
    int64_t workspace_items() const {
        return OnGpu && repeats() > 1 ? x.rows * x.rows : 0;
    }

    double flops() const { return 1.0 * x.rows * x.rows * x.cols + 1.0 * d.rows * d.rows * (d.cols + 2); }
};

}  // namespace steepest::ops
