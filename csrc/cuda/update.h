// The kernels' view of the update operation.
#pragma once

#include "cuda/device/rule.cuh"
#include "ops/update.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
StepSource<T> step_source(const ops::Update<T>& op) {
    return {op.rule, op.parameters, op.adjustments, op.lr, op.step};
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
