// Update rules: one formula each, for CPU vectors and CUDA scalars alike, and the registry that names them. The scalars
// of a step are computed once per launch, in double; then every item is updated with them.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/macros.h"

// X(enumerator, public name, name of the function for its step, first state, second state, the names of its
// hyperparameters beta1, beta2 and eps, or ""). To add a rule, add a struct below and a line here.
#define STEEPEST_UPDATE_RULES(X)                                                     \
    X(Sgd, "sgd", "sgd_update", "", "", "momentum", "", "")                          \
    X(Momentum, "momentum", "sgd_update", "velocities", "", "momentum", "", "")      \
    X(Nesterov, "nesterov", "sgd_update", "velocities", "", "momentum", "", "")      \
    X(AdaGrad, "adagrad", "adagrad_update", "sum_sq", "", "", "", "eps")             \
    X(RmsProp, "rmsprop", "rmsprop_update", "exp_avg_sq", "", "", "rho", "eps")      \
    X(Adam, "adam", "adam_update", "exp_avg", "exp_avg_sq", "beta1", "beta2", "eps") \
    X(Lion, "lion", "lion_update", "exp_avg", "", "beta1", "beta2", "")

namespace steepest {

enum class UpdateRule : int8_t {
#define STEEPEST_ENUMERATOR(Name, ...) k##Name,
    STEEPEST_UPDATE_RULES(STEEPEST_ENUMERATOR)
#undef STEEPEST_ENUMERATOR
};

// The hyperparameters of a rule; the list above says which of them a rule has.
struct RuleParameters {
    double beta1 = 0, beta2 = 0, eps = 0;
};

// The adjustments of any rule: clipping of all gradients of a launch by their common norm, then penalties.
struct Adjustments {
    double l2 = 0;     // added to the gradient: l2 p
    double decay = 0;  // decoupled from the gradient: p -= lr decay p
    double l1 = 0;     // p is moved towards 0 by lr l1, and stops there
    double max_norm = __builtin_inf();

    STEEPEST_HD bool penalises() const { return l2 != 0 || decay != 0 || l1 != 0; }
    STEEPEST_HD bool clips() const { return max_norm < __builtin_inf(); }
};

inline namespace STEEPEST_TARGET {

// The scalars of one step, computed in double and rounded to T once.
template <class T>
struct StepNumbers {
    static constexpr double kSmallestNormal = sizeof(T) == 4 ? 0x1p-126 : 0x1p-1022;

    T lr;  // for Adam, divided by the bias correction of the first moment
    T beta1, one_minus_beta1, beta2, one_minus_beta2, eps;
    T root_scale;  // for Adam, corrects the bias of the square root of the second moment
    T l2, shrinkage, threshold;
    T clip[2];     // two factors of the gradient
    bool adjusts;  // whether penalties or clipping change anything

    StepNumbers() = default;

    // `norm` is the norm of all gradients; it is used only if max_norm is finite.
    STEEPEST_HD StepNumbers(UpdateRule rule, const RuleParameters& p, const Adjustments& a, double rate, int64_t step,
                            double norm)
        : lr(T(rate)),
          beta1(T(p.beta1)),
          one_minus_beta1(T(1 - p.beta1)),
          beta2(T(p.beta2)),
          one_minus_beta2(T(1 - p.beta2)),
          eps(T(p.eps)),
          root_scale(T(1)),
          l2(T(a.l2)),
          shrinkage(T(rate * a.decay)),
          threshold(T(rate * a.l1)),
          clip{T(1), T(1)},
          adjusts(a.penalises()) {
        // A NaN norm clips nothing, so that NaN does not spread to the other items.
        if (norm > a.max_norm) {
            const double factor = a.max_norm / norm;
            // A factor below the normal range of T would be flushed to 0. Its square root and the remaining factor are
            // not.
            const double first = factor < kSmallestNormal ? std::sqrt(factor) : 1.0;
            clip[0] = T(first), clip[1] = T(factor == 0 ? 0.0 : factor / first);
            adjusts = true;
        }
        if (rule == UpdateRule::kAdam) {
            // A counter below 1 counts as 1: there is no bias correction for step 0.
            const double count = step < 1 ? 1.0 : static_cast<double>(step);
            lr = T(rate / (1 - std::pow(p.beta1, count)));
            root_scale = T(1 / std::sqrt(1 - std::pow(p.beta2, count)));
        }
    }

    STEEPEST_HD bool clips() const { return clip[0] != T(1) || clip[1] != T(1); }

    // The scalars for a tensor, with or without the penalties.
    STEEPEST_HD StepNumbers on(bool penalised) const {
        StepNumbers n = *this;
        if (!penalised) n.l2 = n.shrinkage = n.threshold = T(0), n.adjusts = clips();
        return n;
    }
};

// p -= lr g
struct Sgd {
    static constexpr int kStates = 0;
    static constexpr bool kAverages = false;

    template <class T, class V>
    static STEEPEST_HD void update(const StepNumbers<T>& n, V& param, V grad, V&, V&) {
        param = fma(V(-n.lr), grad, param);
    }
};

// v = beta1 v - lr g,  p += v
// B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
struct Momentum {
    static constexpr int kStates = 1;
    static constexpr bool kAverages = false;

    template <class T, class V>
    static STEEPEST_HD void update(const StepNumbers<T>& n, V& param, V grad, V& velocity, V&) {
        velocity = fma(V(n.beta1), velocity, V(-n.lr) * grad);
        param = param + velocity;
    }
};

// v = beta1 v - lr g,  p += beta1 v - lr g
// I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
struct Nesterov {
    static constexpr int kStates = 1;
    static constexpr bool kAverages = false;

    template <class T, class V>
    static STEEPEST_HD void update(const StepNumbers<T>& n, V& param, V grad, V& velocity, V&) {
        const V step = V(-n.lr) * grad;
        velocity = fma(V(n.beta1), velocity, step);
        param = param + fma(V(n.beta1), velocity, step);
    }
};

// s += g²,  p -= lr g / (sqrt(s) + eps)
// J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization", 2011.
struct AdaGrad {
    static constexpr int kStates = 1;
    static constexpr bool kAverages = false;

    template <class T, class V>
    static STEEPEST_HD void update(const StepNumbers<T>& n, V& param, V grad, V& sum_sq, V&) {
        sum_sq = fma(grad, grad, sum_sq);
        param = fma(V(-n.lr), quotient(grad, sqrt(sum_sq) + V(n.eps)), param);
    }
};

// v = beta2 v + (1-beta2) g²,  p -= lr g / (sqrt(v) + eps)
// T. Tieleman, G. Hinton, "Lecture 6.5 - RMSProp", Coursera: neural networks for machine learning, 2012.
struct RmsProp {
    static constexpr int kStates = 1;
    static constexpr bool kAverages = true;

    template <class T, class V>
    static STEEPEST_HD void update(const StepNumbers<T>& n, V& param, V grad, V& exp_avg_sq, V&) {
        exp_avg_sq = fma(V(n.one_minus_beta2) * grad, grad, V(n.beta2) * exp_avg_sq);
        param = fma(V(-n.lr), quotient(grad, sqrt(exp_avg_sq) + V(n.eps)), param);
    }
};

// m = beta1 m + (1-beta1) g,  v = beta2 v + (1-beta2) g²,  p -= lr / (1-beta1^t) m / (sqrt(v / (1-beta2^t)) + eps)
// D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, Algorithm 1.
struct Adam {
    static constexpr int kStates = 2;
    static constexpr bool kAverages = true;

    template <class T, class V>
    static STEEPEST_HD void update(const StepNumbers<T>& n, V& param, V grad, V& exp_avg, V& exp_avg_sq) {
        exp_avg = fma(V(n.one_minus_beta1), grad - exp_avg, exp_avg);
        exp_avg_sq = fma(V(n.one_minus_beta2) * grad, grad, V(n.beta2) * exp_avg_sq);
        const V denominator = fma(sqrt(exp_avg_sq), V(n.root_scale), V(n.eps));
        param = fma(V(-n.lr), quotient(exp_avg, denominator), param);
    }
};

// p -= lr sign(beta1 m + (1-beta1) g),  m = beta2 m + (1-beta2) g; the sign of 0 is 0
// X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023.
struct Lion {
    static constexpr int kStates = 1;
    static constexpr bool kAverages = true;

    template <class T, class V>
    static STEEPEST_HD void update(const StepNumbers<T>& n, V& param, V grad, V& exp_avg, V&) {
        const V direction = fma(V(n.one_minus_beta1), grad - exp_avg, exp_avg);
        // NaN stays NaN.
        const V sign = select(direction > V(0), V(1), select(V(0) > direction, V(-1), direction));
        param = fma(V(-n.lr), sign, param);
        exp_avg = fma(V(n.one_minus_beta2), grad - exp_avg, exp_avg);
    }
};

// Updates one item. The gradient is clipped and gets the L2 penalty. The parameter decays, takes the rule's step, and
// then the proximal step of the L1 penalty, sign(p) max(|p| - lr l1, 0): N. Parikh, S. Boyd, "Proximal algorithms",
// 2014.
template <class Rule, bool kAdjusts, class T, class V>
STEEPEST_HD void take_step(const StepNumbers<T>& n, V& param, V grad, V& state0, V& state1) {
    if constexpr (kAdjusts) {
        grad = fma(V(n.l2), param, V(n.clip[1]) * (V(n.clip[0]) * grad));
        param = fma(V(-n.shrinkage), param, param);
    }
    Rule::update(n, param, grad, state0, state1);
    // The order of the arguments propagates NaN.
    if constexpr (kAdjusts) param = max(V(0), param - V(n.threshold)) + min(V(0), param + V(n.threshold));
}

// Calls f(Formula{}) with the formula of `rule`, so that loops are compiled once per formula.
template <class F>
STEEPEST_HD void with_update_rule(UpdateRule rule, F&& f) {
    switch (rule) {
#define STEEPEST_CASE(Name, ...) \
    case UpdateRule::k##Name: return f(Name{});
        STEEPEST_UPDATE_RULES(STEEPEST_CASE)
#undef STEEPEST_CASE
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
