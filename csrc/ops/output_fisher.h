// The product of the Fisher information of a distribution's parameters with a vector, row by row:
//     out_i = scale * w_i / sum_k w_k * H(z_i) v_i
// H is diag(p) - p pᵀ with p = softmax(z) for "categorical", and diagonal for the others (common/distributions.h).
#pragma once

#include <cmath>

#include "common/distributions.h"
#include "ops/contract.h"

namespace steepest::ops {

// Checks the number of parameters in a row of z.
inline void check_parameters(const char* name, Distribution distribution, ShapeText z) {
    require(distribution != Distribution::kGaussianLearnedVariance || z.cols % 2 == 0, name, "z has shape ", z,
            ": each row must hold a mean and a log-variance for every output");
}

template <class T>
struct OutputFisher {
    static constexpr const char* kName = "output_fisher";
    MatrixView<const T> z;              // (n, c)
    MatrixView<const T> v;              // (n, c)
    Distribution distribution;          // of gaussian_learned_variance, a row holds all means, then all log-variances
    VectorView<const T> sample_weight;  // (n,) or absent
    double scale = 1;
    MatrixView<T> out;  // (n, c): z or v itself, or disjoint from both

    template <class Visitor>
    void visit(Visitor&& visitor) const {
        visitor(kReadItems, "z", z), visitor(kReadItems, "v", v), visitor(kRead, "sample_weight", sample_weight);
        visitor(kWriteItems, "out", out);
    }

    void check() const {
        check_parameters(kName, distribution, shape_of(z));
        require_same_shape(kName, "v", v, "z", z);
        require(!sample_weight || sample_weight.size == z.rows, kName, "sample_weight has shape ",
                shape_of(sample_weight), ", but z has ", z.rows, " rows");
        require(std::isfinite(scale), kName, "scale is ", scale, "; it must be finite");
        require_same_shape(kName, "out", out, "z", z);
    }

    double flops() const { return 15.0 * z.rows * z.cols; }
};

}  // namespace steepest::ops
