// Pointwise losses: one formula each, for CPU vectors and CUDA scalars alike, and the registry that names them. A
// formula gives the loss of one prediction z with one target t, and its derivative with respect to z. `V` is a scalar
// or a vector of one instruction set; exp, log1p_unit and the like are found for it by argument-dependent lookup.
//
// At a kink the derivative is the subgradient nearest to 0, which is 0 for all of these losses. NaN in z or t gives
// NaN.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/activations.h"
#include "common/macros.h"

// X(enumerator, public name, parameter, its default, its exclusive lower and upper bounds, the distribution whose
// negative log-likelihood the loss is, up to terms without z). To add a loss, add a struct below and a line here.
#define STEEPEST_LOSSES(X)                                                                                   \
    X(SquaredError, "squared_error", nullptr, 0, 0, 0, "gaussian")                                           \
    X(AbsoluteError, "absolute_error", nullptr, 0, 0, 0, "laplace")                                          \
    X(Huber, "huber", "delta", 1, 0, __builtin_inf(), nullptr)                                               \
    X(LogCosh, "log_cosh", nullptr, 0, 0, 0, nullptr)                                                        \
    X(Quantile, "quantile", "quantile", 0.5, 0, 1, nullptr)                                                  \
    X(LogLoss, "log_loss", nullptr, 0, 0, 0, "bernoulli")                                                    \
    X(EpsilonInsensitive, "epsilon_insensitive", "epsilon", 0.1, 0, __builtin_inf(), nullptr)                \
    X(SquaredEpsilonInsensitive, "squared_epsilon_insensitive", "epsilon", 0.1, 0, __builtin_inf(), nullptr) \
    X(Hinge, "hinge", "margin", 1, -__builtin_inf(), __builtin_inf(), nullptr)                               \
    X(SquaredHinge, "squared_hinge", nullptr, 0, 0, 0, nullptr)                                              \
    X(ModifiedHuber, "modified_huber", nullptr, 0, 0, 0, nullptr)                                            \
    X(Exponential, "exponential", nullptr, 0, 0, 0, nullptr)                                                 \
    X(Poisson, "poisson", nullptr, 0, 0, 0, "poisson")

namespace steepest {

enum class Loss : int8_t {
#define STEEPEST_ENUMERATOR(Name, ...) k##Name,
    STEEPEST_LOSSES(STEEPEST_ENUMERATOR)
#undef STEEPEST_ENUMERATOR
};

struct LossEntry {
    Loss kind;
    const char* name;
    const char* parameter;  // its name, or null
    double standard, above, below;
    const char* distribution;  // or null
};

constexpr LossEntry kLosses[] = {
#define STEEPEST_ENTRY(Name, ...) {Loss::k##Name, __VA_ARGS__},
    STEEPEST_LOSSES(STEEPEST_ENTRY)
#undef STEEPEST_ENTRY
};

inline namespace STEEPEST_TARGET {

// `positive` where x > 0, `negative` where x < 0, 0 at the kink x = 0, and NaN where x is NaN.
template <class V>
STEEPEST_HD V by_sign(V x, V positive, V negative) {
    return select(x > V(0), positive, select(V(0) > x, negative, x));
}

// factor * x, or 0 where the factor is 0, even for an infinite x.
template <class V>
STEEPEST_HD V times_infinite(V factor, V x) {
    return select(factor == V(0), V(0), factor * x);
}

// (z - t)²
struct SquaredError {
    template <class V>
    STEEPEST_HD V value(V z, V t) const {
        const V error = z - t;
        return error * error;
    }
    template <class V>
    STEEPEST_HD V derivative(V z, V t) const {
        const V error = z - t;
        return error + error;
    }
};

// |z - t|
struct AbsoluteError {
    template <class V>
    STEEPEST_HD V value(V z, V t) const {
        return abs(z - t);
    }
    template <class V>
    STEEPEST_HD V derivative(V z, V t) const {
        return by_sign(z - t, V(1), V(-1));
    }
};

// e²/2 for an error e = z - t up to delta, and delta (|e| - delta/2) beyond; min's argument order propagates NaN.
// P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.
struct Huber {
    double delta;

    template <class V>
    STEEPEST_HD V value(V z, V t) const {
        const V size = abs(z - t);
        const V inner = min(V(delta), size);
        return inner * (size - V(0.5) * inner);
    }
    template <class V>
    STEEPEST_HD V derivative(V z, V t) const {
        return min(V(delta), max(V(-delta), z - t));
    }
};

// log(cosh(e)) for an error e = z - t: like e²/2 near 0, and |e| - log(2) far from it. Up to |e| = 1.3 it is log(1 + c)
// with c = cosh(e) - 1 = m² / (2 (1 + m)) and m = exp(-|e|) - 1, which is accurate for a small error.
struct LogCosh {
    template <class V>
    STEEPEST_HD V value(V z, V t) const {
        const V size = abs(z - t);
        const V m = expm1(-min(V(kNear), size));
        const V near = log1p_unit(V(0.5) * m * m / (V(1) + m));
        const V far = (size - V(kLog2)) + log1p_unit(exp_nonpositive(V(-2) * size));
        return select(V(kNear) > size, near, far);
    }
    template <class V>
    STEEPEST_HD V derivative(V z, V t) const {
        return Tanh{}.value(z - t);
    }
    static constexpr double kNear = 1.3, kLog2 = 0.693147180559945309417;
};

// q (t - z) where z < t, and (1 - q) (z - t) where z > t; the best constant prediction is the q-quantile.
// R. Koenker, G. Bassett, "Regression quantiles", Econometrica 46, 1978.
struct Quantile {
    double q;

    template <class V>
    STEEPEST_HD V value(V z, V t) const {
        const V error = z - t;
        return error * by_sign(error, V(1 - q), V(-q));
    }
    template <class V>
    STEEPEST_HD V derivative(V z, V t) const {
        return by_sign(z - t, V(1 - q), V(-q));
    }
};

// max(0, |e| - epsilon) for an error e = z - t: support-vector regression.
// V. Vapnik, "The nature of statistical learning theory", 1995.
struct EpsilonInsensitive {
    double epsilon;

    template <class V>
    STEEPEST_HD V value(V z, V t) const {
        return max(V(0), abs(z - t) - V(epsilon));
    }
    template <class V>
    STEEPEST_HD V derivative(V z, V t) const {
        return by_sign(abs(z - t) - V(epsilon), V(1), V(0)) * by_sign(z - t, V(1), V(-1));
    }
};

// max(0, |e| - epsilon)², the square of the loss above.
struct SquaredEpsilonInsensitive {
    double epsilon;

    template <class V>
    STEEPEST_HD V value(V z, V t) const {
        const V excess = max(V(0), abs(z - t) - V(epsilon));
        return excess * excess;
    }
    template <class V>
    STEEPEST_HD V derivative(V z, V t) const {
        return V(2) * max(V(0), abs(z - t) - V(epsilon)) * by_sign(z - t, V(1), V(-1));
    }
};

// log(1 + exp(z)) - t z: binary cross-entropy of the logit z. With u = 1 - t where z > 0, else t, the part of the
// target that z has the wrong sign for, it is u |z| + log(1 + exp(-|z|)), a sum of positive terms. The derivative is
// ±(u - 1 / (1 + exp(|z|))).
struct LogLoss {
    template <class V>
    STEEPEST_HD V value(V z, V t) const {
        const V size = abs(z);
        return times_infinite(wrong_share(z, t), size) + log1p_unit(exp_nonpositive(-size));
    }
    template <class V>
    STEEPEST_HD V derivative(V z, V t) const {
        const V e = exp_nonpositive(-abs(z));
        const V slope = wrong_share(z, t) - e / (V(1) + e);
        return select(z > V(0), slope, -slope);
    }

  private:
    template <class V>
    static STEEPEST_HD V wrong_share(V z, V t) {
        return select(z > V(0), V(1) - t, t);
    }
};

// max(0, margin - t z) for targets ±1: linear support-vector machines; with a margin of 0, the perceptron's criterion.
struct Hinge {
    double margin;

    template <class V>
    STEEPEST_HD V value(V z, V t) const {
        return max(V(0), fma(-t, z, V(margin)));
    }
    template <class V>
    STEEPEST_HD V derivative(V z, V t) const {
        return -t * by_sign(fma(-t, z, V(margin)), V(1), V(0));
    }
};

// max(0, 1 - t z)² for targets ±1
struct SquaredHinge {
    template <class V>
    STEEPEST_HD V value(V z, V t) const {
        const V missing = max(V(0), fma(-t, z, V(1)));
        return missing * missing;
    }
    template <class V>
    STEEPEST_HD V derivative(V z, V t) const {
        return V(-2) * t * max(V(0), fma(-t, z, V(1)));
    }
};

// max(0, 1 - t z)² up to t z = -1, then the line -4 t z, for targets ±1: outliers weigh less, and min(max(z, -1), 1)
// is an estimate of P(t = 1) - P(t = -1).
// T. Zhang, "Solving large scale linear prediction problems using stochastic gradient descent algorithms", ICML 2004.
struct ModifiedHuber {
    template <class V>
    STEEPEST_HD V value(V z, V t) const {
        const V missing = max(V(0), fma(-t, z, V(1)));
        const V inner = min(V(2), missing);
        return inner * (missing + missing - inner);
    }
    template <class V>
    STEEPEST_HD V derivative(V z, V t) const {
        return V(-2) * t * min(V(2), max(V(0), fma(-t, z, V(1))));
    }
};

// exp(-t z) for targets ±1: the loss of AdaBoost.
// J. Friedman, T. Hastie, R. Tibshirani, "Additive logistic regression", Annals of Statistics 28, 2000.
struct Exponential {
    template <class V>
    STEEPEST_HD V value(V z, V t) const {
        return exp(-t * z);
    }
    template <class V>
    STEEPEST_HD V derivative(V z, V t) const {
        return -t * exp(-t * z);
    }
};

// exp(z) - t z: the loss of counts t with mean exp(z), without log(t!). Beyond z = 1000 exp is infinite, and so is the
// loss.
struct Poisson {
    template <class V>
    STEEPEST_HD V value(V z, V t) const {
        return exp(z) - times_infinite(t, min(V(1000), z));
    }
    template <class V>
    STEEPEST_HD V derivative(V z, V t) const {
        return exp(z) - t;
    }
};

template <class Formula>
STEEPEST_HD Formula make_loss(double parameter) {
    if constexpr (std::is_empty_v<Formula>)
        return Formula{};
    else
        return Formula{parameter};
}

// Calls f(formula) with the formula of `kind`, so that loops are compiled once per formula. f may be a host function
// or a device function.
#if defined(__CUDACC__)
#pragma nv_exec_check_disable
#endif
template <class F>
STEEPEST_HD void with_loss(Loss kind, double parameter, F&& f) {
    switch (kind) {
#define STEEPEST_CASE(Name, ...) \
    case Loss::k##Name: return f(make_loss<Name>(parameter));
        STEEPEST_LOSSES(STEEPEST_CASE)
#undef STEEPEST_CASE
    }
}

// The loss of one item (common/item_loss.h), from its prediction and its target.
template <class Formula>
struct PointwiseItem {
    Formula formula;

    template <class V>
    STEEPEST_HD V operator()(const V (&in)[2], V (&derivative)[1]) const {
        derivative[0] = formula.derivative(in[0], in[1]);
        return formula.value(in[0], in[1]);
    }
};

// (s + (t - mu)² exp(-s)) / 2 from mu, s and t: a Gaussian with mean mu and variance exp(s), without log(2 pi) / 2.
// Squaring q = (mu - t) exp(-s/2) avoids both the overflow of a large squared error and the underflow of a small
// exp(-s).
struct GaussianItem {
    template <class V>
    STEEPEST_HD V operator()(const V (&in)[3], V (&derivative)[2]) const {
        const V inverse_deviation = exp(V(-0.5) * in[1]);
        const V q = times_infinite(in[0] - in[2], inverse_deviation);
        derivative[0] = times_infinite(q, inverse_deviation);
        derivative[1] = fma(V(-0.5) * q, q, V(0.5));
        return V(0.5) * fma(q, q, in[1]);
    }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
