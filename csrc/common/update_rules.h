// Update rules: one functor each, shared by the CPU's vectors and CUDA's scalars. A rule is made once per launch from
// its hyper-parameters (with the step's bias corrections folded in, in double) and then applied to every element.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/macros.h"

namespace steepest {

struct SgdParameters {
    double lr = 0, momentum = 0, weight_decay = 0;
    bool nesterov = false;
};

struct AdamParameters {
    double lr = 0, beta1 = 0, beta2 = 0, eps = 0, weight_decay = 0;
    int64_t step = 1;
};

inline namespace STEEPEST_TARGET {

// p += -lr g                                                       (plain)
// v = momentum v - lr g,  p += v  or  p += momentum v - lr g       (heavy ball; Nesterov's form)
// I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
template <class T>
struct SgdRule {
    static constexpr int kStates = 1;
    T lr, momentum, weight_decay;
    bool nesterov;

    STEEPEST_HD explicit SgdRule(const SgdParameters& p)
        : lr(T(p.lr)), momentum(T(p.momentum)), weight_decay(T(p.weight_decay)), nesterov(p.nesterov) {}

    template <class V>
    STEEPEST_HD void operator()(V& param, V grad, V& velocity) const {
        const V gradient_step = V(lr) * fma(V(weight_decay), param, grad);
        velocity = fma(V(momentum), velocity, -gradient_step);
        param = param + (nesterov ? fma(V(momentum), velocity, -gradient_step) : velocity);
    }
};

template <class T>
struct PlainSgdRule {
    static constexpr int kStates = 0;
    T lr, weight_decay;

    STEEPEST_HD explicit PlainSgdRule(const SgdParameters& p) : lr(T(p.lr)), weight_decay(T(p.weight_decay)) {}

    template <class V>
    STEEPEST_HD void operator()(V& param, V grad) const {
        param = fma(V(-lr), fma(V(weight_decay), param, grad), param);
    }
};

// m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g²,  p -= lr / (1-b1^t) m / (sqrt(v / (1-b2^t)) + eps)
// D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, Algorithm 1.
template <class T>
struct AdamRule {
    static constexpr int kStates = 2;
    T one_minus_beta1, beta2, one_minus_beta2, corrected_lr, root_scale, eps, weight_decay;

    STEEPEST_HD explicit AdamRule(const AdamParameters& p)
        : one_minus_beta1(T(1 - p.beta1)),
          beta2(T(p.beta2)),
          one_minus_beta2(T(1 - p.beta2)),
          corrected_lr(T(p.lr / (1 - std::pow(p.beta1, static_cast<double>(p.step))))),
          root_scale(T(1 / std::sqrt(1 - std::pow(p.beta2, static_cast<double>(p.step))))),
          eps(T(p.eps)),
          weight_decay(T(p.weight_decay)) {}

    template <class V>
    STEEPEST_HD void operator()(V& param, V grad, V& exp_avg, V& exp_avg_sq) const {
        const V g = fma(V(weight_decay), param, grad);
        exp_avg = fma(V(one_minus_beta1), g - exp_avg, exp_avg);
        exp_avg_sq = fma(V(one_minus_beta2) * g, g, V(beta2) * exp_avg_sq);
        const V denominator = fma(sqrt(exp_avg_sq), V(root_scale), V(eps));
        param = fma(V(-corrected_lr), quotient(exp_avg, denominator), param);
    }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
