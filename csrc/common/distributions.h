// Distributions whose parameters are a network's outputs z, and the registry that names them.
//
// The Fisher information of z is H = E[score scoreᵀ], where the expectation is over observations from the distribution
// itself. H is diagonal if the outputs are independent given z. The formulas here compute its product with v, for CPU
// vectors and CUDA lanes alike.
#pragma once

#include <cstdint>

#include "common/macros.h"

// X(enumerator, public name)
#define STEEPEST_DISTRIBUTIONS(X)                           \
    X(Categorical, "categorical")                           \
    X(Bernoulli, "bernoulli")                               \
    X(Gaussian, "gaussian")                                 \
    X(GaussianLearnedVariance, "gaussian_learned_variance") \
    X(Poisson, "poisson")

namespace steepest {

enum class Distribution : int8_t {
#define STEEPEST_ENUMERATOR(Name, text) k##Name,
    STEEPEST_DISTRIBUTIONS(STEEPEST_ENUMERATOR)
#undef STEEPEST_ENUMERATOR
};

struct DistributionEntry {
    Distribution kind;
    const char* name;
};

constexpr DistributionEntry kDistributions[] = {
#define STEEPEST_ENTRY(Name, text) {Distribution::k##Name, text},
    STEEPEST_DISTRIBUTIONS(STEEPEST_ENTRY)
#undef STEEPEST_ENTRY
};

inline namespace STEEPEST_TARGET {

// p (1 - p) v with p = sigmoid(z): e / (1 + e)² with e = exp(-|z|) is accurate where p is near 0 or 1.
struct BernoulliInformation {
    template <class V>
    STEEPEST_HD V operator()(V z, V v) const {
        const V e = exp_nonpositive(minus_abs(z)), sum = V(1) + e;
        return e / (sum * sum) * v;
    }
};

// The information of a mean whose variance is 1 or, if it is learned, exp(s). Multiplying twice by exp(-s/2) avoids an
// overflow of exp(-s) where v is small.
struct MeanInformation {
    template <class V>
    STEEPEST_HD V operator()(V, V v) const {
        return v;
    }
};
struct ScaledMeanInformation {
    template <class V>
    STEEPEST_HD V operator()(V s, V v) const {
        const V inverse_deviation = exp(V(-0.5) * s);
        return v * inverse_deviation * inverse_deviation;
    }
};

// The information of a log-variance, 1/2.
struct LogVarianceInformation {
    template <class V>
    STEEPEST_HD V operator()(V, V v) const {
        return V(0.5) * v;
    }
};

// exp(z) v
struct PoissonInformation {
    template <class V>
    STEEPEST_HD V operator()(V z, V v) const {
        const V deviation = exp(V(0.5) * z);
        return v * deviation * deviation;
    }
};

// Calls f(z, v, out, formula) for every group of columns with one formula, for distributions other than the
// categorical.
template <template <class> class Op, class T, class F>
void for_each_information(const Op<T>& op, F&& f) {
    const int64_t n = op.z.rows, m = op.z.cols / 2;
    const auto left = [=](const auto& matrix) { return matrix.block(0, 0, n, m); };
    const auto right = [=](const auto& matrix) { return matrix.block(0, m, n, m); };
    switch (op.distribution) {
        case Distribution::kCategorical: return;
        case Distribution::kBernoulli: return f(op.z, op.v, op.out, BernoulliInformation());
        case Distribution::kGaussian: return f(op.z, op.v, op.out, MeanInformation());
        case Distribution::kGaussianLearnedVariance:
            f(right(op.z), left(op.v), left(op.out), ScaledMeanInformation());
            return f(right(op.z), right(op.v), right(op.out), LogVarianceInformation());
        case Distribution::kPoisson: return f(op.z, op.v, op.out, PoissonInformation());
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
