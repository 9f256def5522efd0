// Multi-tensor parameter updates: one launch for all tensors of a model, each item by its rule's formula.
#pragma once

#include <vector>

#include "common/update_rules.h"
#include "ops/contract.h"

namespace steepest::ops {

struct UpdateRuleInfo {
    UpdateRule rule;
    const char *name, *operation, *state[2], *number[3];
    bool averages;  // whether beta1 and beta2 are decay rates of running means

    constexpr int states() const { return (*state[0] != 0) + (*state[1] != 0); }
};

constexpr UpdateRuleInfo kUpdateRules[] = {
#define STEEPEST_INFO(Name, text, operation, state0, state1, number0, number1, number2) \
    {UpdateRule::k##Name, text, operation, {state0, state1}, {number0, number1, number2}, Name::kAverages},
    STEEPEST_UPDATE_RULES(STEEPEST_INFO)
#undef STEEPEST_INFO
};

constexpr const UpdateRuleInfo& info_of(UpdateRule rule) { return kUpdateRules[static_cast<int>(rule)]; }

// One tensor with its gradient and as many state arrays as the rule keeps, all of one shape.
template <class T>
struct UpdateTensor {
    MatrixView<T> param;
    MatrixView<const T> grad;
    MatrixView<T> state[2];
    bool penalised = true;  // whether the penalties apply; they usually do not apply to biases

    template <class Visitor>
    void visit(Visitor&& v, const UpdateRuleInfo& names) const {
        v(kRead, "grads", grad), v(kUpdate, "params", param);
        for (int s = 0; s < 2; ++s) v(kUpdate, names.state[s], state[s]);
    }
};

template <class T>
struct Update {
    static constexpr const char* kName = "update";
    UpdateRule rule = UpdateRule::kSgd;
    RuleParameters parameters;
    Adjustments adjustments;
    std::vector<UpdateTensor<T>> tensors;
    ScalarView<double> lr;
    ScalarView<int64_t> step{nullptr, 1};  // the number of this update, counted from 1

    const char* name() const { return info_of(rule).operation; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        for (const auto& t : tensors) t.visit(v, info_of(rule));
        v(kRead, "lr", lr), v(kRead, "step", step);
        if (adjustments.clips()) v.team_memory();
    }

    void check() const {
        const char* const name = this->name();
        const char* const* const state_names = info_of(rule).state;
        for (const auto& t : tensors) {
            require_same_shape(name, "grads", t.grad, "params", t.param);
            for (int s = 0; s < 2; ++s) {
                if (!t.state[s]) continue;
                require_same_shape(name, state_names[s], t.state[s], "params", t.param);
            }
        }
    }

    double flops() const {
        return (2.0 + 6.0 * info_of(rule).states() + 2.0 * adjustments.clips() + 8.0 * adjustments.penalises()) *
               size();
    }
    // Parameters and states are read and written; gradients are read, and once more for their norm.
    double bytes() const { return (3.0 + 2.0 * info_of(rule).states() + adjustments.clips()) * sizeof(T) * size(); }

    double size() const {
        double n = 0;
        for (const auto& t : tensors) n += 1.0 * t.param.rows * t.param.cols;
        return n;
    }
};

}  // namespace steepest::ops
