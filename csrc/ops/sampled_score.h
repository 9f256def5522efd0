// Scores of sampled observations, for Monte Carlo estimates of the Fisher information. For every row, an observation is
// sampled from the distribution with the parameters z_i. The result is its score, the gradient of its negative
// log-likelihood with respect to z_i:
//     softmax(z) - onehot(class),  sigmoid(z) - label,  mean - number,  exp(z) - count
//     (mean - number) exp(-s) and (1 - (mean - number)² exp(-s)) / 2 where s, the logarithm of the variance, is learned
// A sample depends only on (seed, stream, number of the row or item) and the parameters (common/sampled_scores.h).
#pragma once

#include "ops/output_fisher.h"

namespace steepest::ops {

template <class T>
struct SampledScore {
    static constexpr const char* kName = "sampled_score";
    MatrixView<const T> z;      // (n, c)
    Distribution distribution;  // of gaussian_learned_variance, a row holds all means, then all log-variances
    uint64_t seed = 0;
    ScalarView<int64_t> stream;
    MatrixView<T> out;  // (n, c): z itself, or disjoint from it

    template <class Visitor>
    void visit(Visitor&& visitor) const {
        visitor(kReadItems, "z", z), visitor(kRead, "stream", stream), visitor(kWriteItems, "out", out);
    }

    void check() const {
        check_parameters(kName, distribution, shape_of(z));
        require_same_shape(kName, "out", out, "z", z);
    }

    double flops() const { return 60.0 * z.rows * z.cols; }
};

}  // namespace steepest::ops
