// Update rules on the device: the scalars of a step, some of which may be in device memory, and the step of an item.
#pragma once

#include "common/update_rules.h"
#include "common/views.h"
#include "cuda/device/lane.cuh"
#include "cuda/device/shared.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The quantities from which the scalars of a step are computed.
template <class T>
struct StepSource {
    UpdateRule rule;
    RuleParameters parameters;
    Adjustments adjustments;
    ScalarView<double> lr;
    ScalarView<int64_t> step;
    // The squared norms of groups of gradients, if they are clipped.
    const double* squared_norms = nullptr;
    int groups = 0;

    __device__ StepNumbers<T> make() const {
        double total = 0;
        for (int i = 0; i < groups; ++i) total += squared_norms[i];
        return {rule, parameters, adjustments, lr.get(), step.get(), std::sqrt(total)};
    }
};

// One thread of the block computes the scalars in double; after the next barrier, all threads may read them.
template <class T>
__device__ __forceinline__ void make_numbers(const StepSource<T>& source, SharedArray<StepNumbers<T>, 1>& numbers) {
    if (threadIdx.x == 0) numbers[0] = source.make();
}

// Updates one item and the states that the rule keeps.
template <class Rule, class T>
__device__ __forceinline__ void update_item(const StepNumbers<T>& numbers, T& param, T grad, T& state0, T& state1) {
    Lane<T> p(param), s0(state0), s1(state1);
    const Lane<T> g(grad);
    if (numbers.adjusts)
        take_step<Rule, true>(numbers, p, g, s0, s1);
    else
        take_step<Rule, false>(numbers, p, g, s0, s1);
    param = p.value, state0 = s0.value, state1 = s1.value;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
