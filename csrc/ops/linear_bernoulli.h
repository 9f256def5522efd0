// means = sigmoid(x @ w + b) and draws = 1 with probability means, else 0: a layer of binary units, and a sample of it,
// as the Gibbs chain of a Boltzmann machine needs them (G. E. Hinton, "Training products of experts by minimizing
// contrastive divergence", 2002).
// The draw of item (i, j) is 1 if its mean is above a number u in [0, 1). It is uniforms(i, j) or, without these, the
// number of word j % 4 of Philox counter i ceil(n_out / 4) + j / 4 of (seed, stream), see common/bernoulli.h.
#pragma once

#include "common/precision.h"
#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct LinearBernoulli {
    static constexpr const char* kName = "linear_bernoulli";
    MatrixView<const T> x;         // (n, n_in)
    MatrixView<const T> w;         // (n_in, n_out)
    VectorView<const T> b;         // (n_out,) or absent
    MatrixView<const T> uniforms;  // (n, n_out) or absent
    MatrixView<T> means, draws;    // (n, n_out), disjoint from all others
    uint64_t seed = 0;
    ScalarView<int64_t> stream;
    Precision precision = Precision::kFloat32;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "w", w), v(kRead, "b", b), v(kRead, "uniforms", uniforms);
        v(kRead, "stream", stream), v(kWrite, "means", means), v(kWrite, "draws", draws);
    }

    void check() const {
        require(x.cols == w.rows, kName, "x has shape ", shape_of(x), " and w has shape ", shape_of(w),
                ": the columns of x must be the rows of w");
        require(!b || b.size == w.cols, kName, "b has shape ", shape_of(b), ", but w has ", w.cols, " columns");
        require(means.rows == x.rows && means.cols == w.cols, kName, "means has shape ", shape_of(means),
                ", but the result has shape (", x.rows, ", ", w.cols, ")");
        require_same_shape(kName, "draws", draws, "means", means);
        if (uniforms) require_same_shape(kName, "uniforms", uniforms, "means", means);
    }

    double flops() const {
        constexpr double kDraw = 30;  // of a sigmoid and a draw
        return (2.0 * x.cols + kDraw) * x.rows * w.cols;
    }
};

}  // namespace steepest::ops
