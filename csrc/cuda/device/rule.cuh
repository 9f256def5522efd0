// Update rules on the device: how a rule is made from numbers that may lie in device memory, and applied to an item.
#pragma once

#include "common/update_rules.h"
#include "common/views.h"
#include "cuda/device/lane.cuh"
#include "cuda/device/shared.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <template <class> class RuleOf>
struct SgdMaker {
    template <class T>
    using Rule = RuleOf<T>;

    ScalarView<double> lr;
    SgdParameters parameters;

    template <class T>
    __device__ Rule<T> make() const {
        SgdParameters p = parameters;
        p.lr = lr.get();
        return Rule<T>(p);
    }
};

struct AdamMaker {
    template <class T>
    using Rule = AdamRule<T>;

    ScalarView<double> lr;
    ScalarView<int64_t> step;
    AdamParameters parameters;

    template <class T>
    __device__ Rule<T> make() const {
        AdamParameters p = parameters;
        p.lr = lr.get(), p.step = step.get();
        return Rule<T>(p);
    }
};

// One thread of the block does the arithmetic in double; after the next barrier, all may read.
template <class T, class Maker>
__device__ __forceinline__ void make_rule(const Maker& maker, SharedArray<typename Maker::template Rule<T>, 1>& rule) {
    if (threadIdx.x == 0) rule[0] = maker.template make<T>();
}

// One item with as many states as the rule keeps.
template <class Rule, class T>
__device__ __forceinline__ void apply_rule(const Rule& rule, T& param, T grad, T& state0, T& state1) {
    Lane<T> p(param), s0(state0), s1(state1);
    const Lane<T> g(grad);
    if constexpr (Rule::kStates == 0) rule(p, g);
    if constexpr (Rule::kStates == 1) rule(p, g, s0);
    if constexpr (Rule::kStates == 2) rule(p, g, s0, s1);
    param = p.value, state0 = s0.value, state1 = s1.value;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
