// The mean outer product of the rows of x with themselves, added to a decayed running mean:
//     out = decay out + scale sum_i w_i z_i z_i^T / sum_i w_i,   z_i = x_i, or (x_i, 1) with ones;
// w_i = 1 without sample_weight. For the inputs of a layer and the gradients of its outputs, these are the factors of
// K-FAC (J. Martens, R. Grosse, "Optimizing neural networks with Kronecker-factored approximate curvature", 2015). One
// triangle is computed and mirrored.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct SecondMoment {
    static constexpr const char* kName = "second_moment";
    MatrixView<const T> x;              // (n, d)
    VectorView<const T> sample_weight;  // (n,) or absent
    bool ones = false;                  // whether a 1 is appended to every row of x
    double scale = 1;
    ScalarView<double> decay;  // in [0, 1); if it is 0, the old values of out do not matter
    MatrixView<T> out;         // (d + ones, d + ones), symmetric

    bool may_read_out() const { return decay.data || decay.value != 0; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "sample_weight", sample_weight), v(kRead, "decay", decay);
        v(may_read_out() ? kUpdate : kWrite, "out", out);
    }

    void check() const {
        require(x.rows > 0, kName, "x has shape ", shape_of(x), ": an empty batch has no mean");
        require(!sample_weight || sample_weight.size == x.rows, kName, "sample_weight has shape ",
                shape_of(sample_weight), ", but x has ", x.rows, " rows");
        require(decay.data || (decay.value >= 0 && decay.value < 1), kName, "decay is ", decay.value,
                "; it must be in [0, 1)");
        const int64_t size = x.cols + (ones ? 1 : 0);
        require(out.rows == size && out.cols == size, kName, "out has shape ", shape_of(out),
                ", but the result has shape (", size, ", ", size, ")");
    }

    double flops() const { return 1.0 * x.rows * x.cols * (x.cols + 1 + 2 * ones); }
};

}  // namespace steepest::ops
