// Multi-tensor parameter updates: one launch for all tensors of a model, each item by its rule's formula.
#pragma once

#include <algorithm>
#include <vector>

#include "common/update_rules.h"
#include "ops/contract.h"

namespace steepest::ops {

struct UpdateRuleNames {
    const char *name, *operation, *state[2];

    constexpr int states() const { return (*state[0] != 0) + (*state[1] != 0); }
};

constexpr UpdateRuleNames kUpdateRules[] = {
#define STEEPEST_NAMES(Name, text, operation, state0, state1) {text, operation, {state0, state1}},
    STEEPEST_UPDATE_RULES(STEEPEST_NAMES)
#undef STEEPEST_NAMES
};

constexpr const UpdateRuleNames& names_of(UpdateRule rule) { return kUpdateRules[static_cast<int>(rule)]; }

// One tensor with its gradient and as many state arrays as the rule keeps, all of one shape.
template <class T>
struct UpdateTensor {
    MatrixView<T> param;
    MatrixView<const T> grad;
    MatrixView<T> state[2];
    bool penalised = true;  // or spared by penalties, as biases are
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

    const char* name() const { return names_of(rule).operation; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        for (const auto& t : tensors) v.read(t.grad), v.write(t.param), v.write(t.state[0]), v.write(t.state[1]);
        v.read(lr), v.read(step);
        if (adjustments.clips()) v.team_memory();
    }

    void check() const {
        const char* const name = this->name();
        const char* const* const state_names = names_of(rule).state;
        for (const auto& t : tensors) {
            require_same_shape(name, "grads", t.grad, "params", t.param);
            require_apart(name, "params", t.param, "grads", t.grad);
            for (int s = 0; s < 2; ++s) {
                if (!t.state[s]) continue;
                require_same_shape(name, state_names[s], t.state[s], "params", t.param);
                require_apart(name, state_names[s], t.state[s], "params", t.param);
                require_apart(name, state_names[s], t.state[s], "grads", t.grad);
            }
            require_apart(name, state_names[0], t.state[0], state_names[1], t.state[1]);
        }
        // The tensors are updated side by side. Shared ones are passed once, with the sum of their gradients.
        require_all_apart("params", [](const UpdateTensor<T>& t) { return t.param; });
        for (int s = 0; s < 2; ++s)
            require_all_apart(state_names[s], [s](const UpdateTensor<T>& t) { return t.state[s]; });
    }

    template <class Member>
    void require_all_apart(const char* what, Member&& member) const {
        std::vector<MemoryRange> ranges;
        ranges.reserve(tensors.size());
        for (const auto& t : tensors) ranges.push_back(memory_range(member(t)));
        std::sort(ranges.begin(), ranges.end(),
                  [](const MemoryRange& a, const MemoryRange& b) { return a.begin < b.begin; });
        for (size_t i = 0; i < ranges.size(); ++i)
            for (size_t j = i + 1; j < ranges.size() && ranges[j].begin < ranges[i].end; ++j)
                require(!overlap(ranges[i], ranges[j]), name(), "two of the ", what, " overlap in memory");
    }

    double flops() const {
        return (2.0 + 6.0 * names_of(rule).states() + 2.0 * adjustments.clips() + 8.0 * adjustments.penalises()) *
               size();
    }
    // Parameters and states are read and written; gradients are read, once more for their norm.
    double bytes() const { return (3.0 + 2.0 * names_of(rule).states() + adjustments.clips()) * sizeof(T) * size(); }

    double size() const {
        double n = 0;
        for (const auto& t : tensors) n += 1.0 * t.param.rows * t.param.cols;
        return n;
    }
};

}  // namespace steepest::ops
