// Scores of observations sampled from the distributions of common/distributions.h. If the observation cancels in its
// score, as a normal number does, it is never computed.
//
// The noise of item e, counted along the rows of the observations, comes from Philox counter e / 4: labels take its
// word e % 4, and two normal numbers take two words. The class of row i takes the first 64 bits of counter i. A count
// takes the words of counter e, and those of further counters, 2^48 apart, if it is sampled by rejection.
#pragma once

#include <cmath>

#include "common/distributions.h"
#include "common/philox.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int kNoisePerCounter = 4;

// Uniform in [0, 1].
struct UniformNoise {
    template <class T>
    static STEEPEST_HD void make(const uint32_t* word, T* noise) {
        for (int l = 0; l < kNoisePerCounter; ++l) noise[l] = static_cast<T>(word[l]) * T(0x1p-32);
    }
};

// Standard normal numbers, at most 6.7 in magnitude: G. E. P. Box, M. E. Muller, "A note on the generation of random
// normal deviates", 1958.
struct NormalNoise {
    template <class T>
    static STEEPEST_HD void make(const uint32_t* word, T* noise) {
        for (int l = 0; l < kNoisePerCounter; l += 2) {
            const double radius = std::sqrt(-2 * std::log((word[l] + 0.5) * 0x1p-32));
            const double angle = 6.283185307179586477 * 0x1p-32 * word[l + 1];
            noise[l] = static_cast<T>(radius * std::cos(angle));
            noise[l + 1] = static_cast<T>(radius * std::sin(angle));
        }
    }
};

// sigmoid(z) - label. The less probable label has the probability t = 1 / (1 + exp(|z|)), and is sampled where u < t.
struct BernoulliScore {
    template <class V>
    STEEPEST_HD V operator()(V z, V u) const {
        const V e = exp_nonpositive(minus_abs(z)), sum = V(1) + e, t = e / sum;
        const V size = select(t > u, V(1) / sum, -t);  // the score for z > 0
        return select(z > V(0), size, -size);
    }
};

// z - number = -e for the number z + e.
struct MeanScore {
    template <class V>
    STEEPEST_HD V operator()(V, V e) const {
        return -e;
    }
};

// For the number mu + e exp(s/2): -e exp(-s/2) for mu, (1 - e²) / 2 for s.
struct ScaledMeanScore {
    template <class V>
    STEEPEST_HD V operator()(V s, V e) const {
        return -e * exp(V(-0.5) * s);
    }
};
struct LogVarianceScore {
    template <class V>
    STEEPEST_HD V operator()(V, V e) const {
        return fma(V(-0.5) * e, e, V(0.5));
    }
};

// Calls f(z, out, noise, formula) for every group of columns with one formula, for distributions whose noise does not
// depend on z.
template <template <class> class Op, class T, class F>
void for_each_score(const Op<T>& op, F&& f) {
    const int64_t n = op.z.rows, m = op.z.cols / 2;
    const auto left = [=](const auto& matrix) { return matrix.block(0, 0, n, m); };
    const auto right = [=](const auto& matrix) { return matrix.block(0, m, n, m); };
    switch (op.distribution) {
        case Distribution::kCategorical:
        case Distribution::kPoisson: return;
        case Distribution::kBernoulli: return f(op.z, op.out, UniformNoise(), BernoulliScore());
        case Distribution::kGaussian: return f(op.z, op.out, NormalNoise(), MeanScore());
        case Distribution::kGaussianLearnedVariance:
            f(right(op.z), left(op.out), NormalNoise(), ScaledMeanScore());
            return f(right(op.z), right(op.out), NormalNoise(), LogVarianceScore());
    }
}

// log P(k) of the Poisson distribution, from the deviance of k and Stirling's series: terms of the size of the mean do
// not cancel (C. Loader, "Fast and accurate computation of binomial probabilities", 2000).
STEEPEST_HD double log_poisson(double k, double mean) {
    constexpr double kFew = 16;
    if (k < kFew) {
        double factorial = 1;
        for (int i = 2; i <= static_cast<int>(k); ++i) factorial *= i;
        return k * std::log(mean) - mean - std::log(factorial);
    }
    const double difference = k - mean, square = 1 / (k * k);
    double deviance = k * std::log(k / mean) - difference;
    if (std::fabs(difference) < 0.1 * (k + mean)) {
        const double ratio = difference / (k + mean);
        double power = 2 * k * ratio, before = 0;
        deviance = difference * ratio;
        for (int i = 3; deviance != before; i += 2) {
            before = deviance, power *= ratio * ratio;
            deviance += power / i;
        }
    }
    const double stirling = (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - square / 1680) * square) * square) / k;
    return -deviance - stirling - 0.5 * std::log(6.283185307179586477 * k);
}

// exp(z) - count for item e, with a count sampled from the Poisson distribution of mean exp(z):
//   * Means below 10: the inverse of the distribution function, by a search from 0 on.
//   * Means from 10 on: algorithm PTRS of W. Hörmann, "The transformed rejection method for generating Poisson random
//     variables", Insurance: Mathematics and Economics 12, 1993.
//   * Means from 2^50 on: the normal distribution, which differs from the Poisson distribution by parts in 2^25.
class PoissonScore {
  public:
    STEEPEST_HD PoissonScore(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}

    STEEPEST_HD double operator()(double z, int64_t e) const {
        constexpr double kSearched = 10, kNormal = 0x1p50;
        const double mean = std::exp(z);
        if (mean < kSearched) return mean - search(mean, words(e, 0));
        if (mean < kNormal) return mean - reject(mean, e);
        double noise[kNoisePerCounter];
        NormalNoise::make(words(e, 0).word, noise);
        return -noise[0] * std::exp(0.5 * z);
    }

  private:
    STEEPEST_HD Philox words(int64_t e, uint64_t attempt) const {
        return Philox::at(seed_, stream_, static_cast<uint64_t>(e) + (attempt << 48));
    }

    static STEEPEST_HD double search(double mean, const Philox& words) {
        constexpr double kEnough = 100;  // larger counts have a probability below 1e-60
        const double u = uniform_double(words.bits64(0));
        double k = 0, probability = std::exp(-mean), sum = probability;
        while (u >= sum && k < kEnough) {
            k += 1, probability *= mean / k;
            sum += probability;
        }
        return k;
    }

    STEEPEST_HD double reject(double mean, int64_t e) const {
        constexpr uint64_t kAttempts = 1000;  // each succeeds with a probability above 0.7
        const double b = 0.931 + 2.53 * std::sqrt(mean), a = -0.059 + 0.02483 * b;
        const double accepted = 0.9277 - 3.6224 / (b - 2), inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        for (uint64_t attempt = 0; attempt < kAttempts; ++attempt) {
            const Philox two = words(e, attempt);
            const double u = uniform_double(two.bits64(0)) - 0.5, v = uniform_double(two.bits64(1));
            const double side = 0.5 - std::fabs(u);
            const double k = std::floor((2 * a / side + b) * u + mean + 0.43);
            if (side >= 0.07 && v <= accepted) return k;
            if (k < 0 || (side < 0.013 && v > side)) continue;
            if (std::log(v * inverse_alpha / (a / (side * side) + b)) <= log_poisson(k, mean)) return k;
        }
        return std::floor(mean);
    }

    uint64_t seed_, stream_;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
