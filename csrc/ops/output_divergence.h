// The mean Kullback-Leibler divergence, in nats, of the distributions whose parameters are the rows of z and of w:
//     out = sum_i s_i KL(p(z_i) || p(w_i)) / sum_i s_i
#pragma once

#include "ops/output_fisher.h"

namespace steepest::ops {

template <class T>
struct OutputDivergence {
    static constexpr const char* kName = "output_divergence";
    MatrixView<const T> z;              // (n, c)
    MatrixView<const T> w;              // (n, c)
    Distribution distribution;          // of gaussian_learned_variance, a row holds all means, then all log-variances
    VectorView<const T> sample_weight;  // (n,) or absent
    double* out = nullptr;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "z", z), v(kRead, "w", w), v(kRead, "sample_weight", sample_weight), v(kWrite, "out", one_item(out));
        v.team_memory();
    }

    void check() const {
        require(z.rows > 0 && z.cols > 0, kName, "z has shape ", shape_of(z),
                ": an empty batch has no mean divergence");
        check_parameters(kName, distribution, shape_of(z));
        require_same_shape(kName, "w", w, "z", z);
        require(!sample_weight || sample_weight.size == z.rows, kName, "sample_weight has shape ",
                shape_of(sample_weight), ", but z has ", z.rows, " rows");
    }

    double flops() const { return 60.0 * z.rows * z.cols; }
};

}  // namespace steepest::ops
