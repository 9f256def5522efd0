// The divergence KL(p(z) || p(w)) of distributions whose parameters are z and w (common/distributions.h), in nats and
// float64: one formula for each item, for CPU vectors and CUDA lanes alike.
//
// A training step changes the outputs of a network by little, and the divergence by the square of that. In a difference
// of two entropies it would be lost to cancellation. If log p(y) = z y - A(z), up to terms without z, the divergence is
// A(w) - A(z) - A'(z) t with t = w - z. For counts, and in a sum over the classes, it is exp(z) (exp(t) - 1 - t). In
// such forms nothing cancels, and the relative error is a small multiple of the machine epsilon.
//
// Equal parameters, infinite ones included, have the divergence 0.
#pragma once

#include "common/distributions.h"
#include "common/losses.h"
#include "common/polynomial.h"
#include "common/views.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// w - z
template <class V>
STEEPEST_HD V difference(V w, V z) {
    return select(w == z, V(0), w - z);
}

// exp(t) - 1 - t for |t| <= 1, from the series of exp up to t¹⁸: the relative error is below 3e-17.
template <class V>
STEEPEST_HD V exp_remainder_near_0(V t) {
    return t * t *
           polynomial(t, 0.5, 0.16666666666666666, 0.041666666666666664, 0.008333333333333333, 0.001388888888888889,
                      0.0001984126984126984, 2.48015873015873e-05, 2.7557319223985893e-06, 2.755731922398589e-07,
                      2.505210838544172e-08, 2.08767569878681e-09, 1.6059043836821613e-10, 1.1470745597729725e-11,
                      7.647163731819816e-13, 4.779477332387385e-14, 2.8114572543455206e-15, 1.5619206968586225e-16);
}

// exp(t) - 1 - t
template <class V>
STEEPEST_HD V exp_remainder(V t) {
    const V near = exp_remainder_near_0(t);
    if (!any_greater(abs(t), V(1))) return near;
    return select(abs(t) > V(1), exp(t) - (V(1) + t), near);
}

// exp(z) (exp(t) - 1 - t) with t = w - z: the larger of exp(z) and exp(w) times a factor that does not overflow.
template <class V>
STEEPEST_HD V scaled_exp_remainder(V z, V w, V t) {
    V value = exp_remainder_near_0(t), exponent = z;
    if (any_greater(abs(t), V(1))) {
        const V e = exp_nonpositive(minus_abs(t));
        const V down = e - (V(1) + t), up = V(1) - e * (V(1) + min(V(1000), t));
        value = select(abs(t) > V(1), select(t > V(0), up, down), value);
        exponent = select(t > V(1), w, z);
    }
    // Multiplying twice by the square root avoids an overflow of the exponential where the value is small.
    const V root = exp(min(V(709), V(0.5) * exponent));
    return value * root * root;
}

// softplus(w) - softplus(z) - p t with p = sigmoid(z). By symmetry z can be assumed negative, so that p <= 1/2. Near 0
// it is
//     log1p(x) - p t = p (exp(t) - 1 - t) - (x - log1p(x)),   x = p (exp(t) - 1),
// whose first term is at most 3 times the result. With s = x / (2 + x), log1p(x) = 2 artanh(s) and x - 2 s = x s.
struct BernoulliDivergence {
    template <class V>
    STEEPEST_HD V operator()(const V (&in)[2]) const {
        const auto flips = in[0] > V(0);
        const V signed_t = difference(in[1], in[0]), t = select(flips, -signed_t, signed_t);
        const V e = exp_nonpositive(minus_abs(in[0])), p = e / (V(1) + e);
        const V remainder = exp_remainder_near_0(t), x = p * (t + remainder), s = x / (V(2) + x), square = s * s;
        V value = p * remainder - s * (x - (square + square) * artanh_tail(square));
        if (any_greater(abs(t), V(1))) {
            const V w = select(flips, -in[1], in[1]), tail = log1p_unit(exp_nonpositive(minus_abs(w))) - log1p_unit(e);
            // max(w, 0) - p t, in a form that is no difference of infinities for an infinite w
            const V line =
                select(w > V(0), fma(V(1) - p, w, times_infinite(p, minus_abs(in[0]))), -times_infinite(p, t));
            value = select(abs(t) > V(1), line + tail, value);
        }
        return value;
    }
};

// t² / 2
struct MeanDivergence {
    template <class V>
    STEEPEST_HD V operator()(const V (&in)[2]) const {
        const V t = difference(in[1], in[0]);
        return V(0.5) * t * t;
    }
};

// For means and log-variances (mu, s) and (mu', s'): half of (mu' - mu)² exp(-s') + exp(d) - 1 - d with d = s - s'.
struct LearnedVarianceDivergence {
    template <class V>
    STEEPEST_HD V operator()(const V (&in)[4]) const {
        const V root = exp(min(V(709), V(-0.25) * in[3])), q = difference(in[2], in[0]) * root * root;
        return V(0.5) * fma(q, q, exp_remainder(difference(in[1], in[3])));
    }
};

struct PoissonDivergence {
    template <class V>
    STEEPEST_HD V operator()(const V (&in)[2]) const {
        return scaled_exp_remainder(in[0], in[1], difference(in[1], in[0]));
    }
};

// The arguments of a formula: the columns of z and w that belong together.
template <class T, int In>
struct DivergenceItems {
    MatrixView<const T> in[In];
};

// Calls f(items, formula) for a distribution other than the categorical.
template <template <class> class Op, class T, class F>
void with_divergence(const Op<T>& op, F&& f) {
    const DivergenceItems<T, 2> items{{op.z, op.w}};
    const int64_t n = op.z.rows, m = op.z.cols / 2;
    switch (op.distribution) {
        case Distribution::kCategorical: return;
        case Distribution::kBernoulli: return f(items, BernoulliDivergence());
        case Distribution::kGaussian: return f(items, MeanDivergence());
        case Distribution::kGaussianLearnedVariance:
            return f(DivergenceItems<T, 4>{{op.z.block(0, 0, n, m), op.z.block(0, m, n, m), op.w.block(0, 0, n, m),
                                            op.w.block(0, m, n, m)}},
                     LearnedVarianceDivergence());
        case Distribution::kPoisson: return f(items, PoissonDivergence());
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
