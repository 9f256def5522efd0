// The scalar part of stochastic gradient descent for a linear model, one formula for both devices: the step length
// along a sample, and how it decays with the number of samples.
#pragma once

#include <cmath>

#include "common/losses.h"

namespace steepest {

// Whether a step has its length from the loss of its sample: no, by PA-I (kFirst) or by PA-II (kSecond).
enum class PassiveAggressive : int8_t { kNot, kFirst, kSecond };

inline namespace STEEPEST_TARGET {

// Every kind of step that scikit-learn's learning rates name: lr / (t0 + t)^power for sample t = 1, 2, ...
// (constant: power 0; "optimal" of L. Bottou, "Stochastic gradient descent tricks", 2012: power 1, lr 1 / alpha), or
// PA-I and PA-II of K. Crammer et al., "Online passive-aggressive algorithms", JMLR 7, 2006, with lr as their C.
struct StepRule {
    double lr, power, t0;
    double l1, l2;
    PassiveAggressive passive_aggressive;

    STEEPEST_HD double rate(double t) const {
        if (power == 0) return lr;
        return lr / (power == 1 ? t0 + t : std::pow(t0 + t, power));
    }
    // The factor by which the L2 penalty shrinks the weights, at least 0.
    STEEPEST_HD double decay(double rate) const {
        const double left = 1 - rate * l2;
        return left > 0 ? left : 0;
    }
    // Whether a sample with |x|² = square is skipped.
    STEEPEST_HD bool skips(double square) const {
        return passive_aggressive == PassiveAggressive::kFirst && square == 0;
    }

    // The coefficient c of the step w + c x, for a sample of loss l, derivative l', |x|² = square and a weight.
    STEEPEST_HD double coefficient(double loss, double slope, double rate, double square, double weight) const {
        constexpr double kSteepest = 1e12;
        if (passive_aggressive == PassiveAggressive::kNot) {
            const double clipped = slope > kSteepest ? kSteepest : slope < -kSteepest ? -kSteepest : slope;
            return -(rate * weight) * clipped;
        }
        const bool is_first = passive_aggressive == PassiveAggressive::kFirst;
        const double reach = loss / (is_first ? square : square + 0.5 / lr);
        const double length = weight * (is_first && reach > lr ? lr : reach);
        return slope < 0 ? length : slope > 0 ? -length : 0 * length;
    }
};

// The derivative of the loss that a step uses, at prediction z with target t. At its kink the hinge counts as violated.
// Otherwise a perceptron would never move: its kink lies at weights of 0, where it starts.
template <class Formula, class V>
STEEPEST_HD V slope_of_step(const Formula& formula, V z, V t) {
    if constexpr (std::is_same_v<Formula, Hinge>)
        return select(t * z > V(formula.margin), V(0), -t);
    else
        return formula.derivative(z, t);
}

// The target of output c for a class label: positive if c is the label. A single output has positive targets for labels
// above 0.
STEEPEST_HD bool is_positive(int64_t label, int64_t c, int64_t outputs) {
    return outputs == 1 ? label > 0 : label == c;
}
STEEPEST_HD double target_of_class(Loss loss, bool positive) { return positive ? 1 : loss == Loss::kLogLoss ? 0 : -1; }

}  // namespace STEEPEST_TARGET
}  // namespace steepest
