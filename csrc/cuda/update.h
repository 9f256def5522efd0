// The kernels' view of the update operations.
#pragma once

#include "cuda/device/rule.cuh"
#include "ops/update.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Calls f(maker) with what makes the rule of an update.
template <class T, class F>
void with_maker(const ops::SgdUpdate<T>& op, F&& f) {
    const SgdParameters parameters{0, op.momentum, op.weight_decay, op.nesterov};
    if (!op.list.tensors.empty() && op.list.tensors[0].state[0])
        f(SgdMaker<SgdRule>{op.lr, parameters});
    else
        f(SgdMaker<PlainSgdRule>{op.lr, parameters});
}

template <class T, class F>
void with_maker(const ops::AdamUpdate<T>& op, F&& f) {
    f(AdamMaker{op.lr, op.step, {0, op.beta1, op.beta2, op.eps, op.weight_decay, 0}});
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
