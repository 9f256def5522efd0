// The operations on single numbers. Consecutive ones share a launch: a launch of its own would cost each more than its
// computation.
#pragma once

#include <vector>

#include "cuda/stream.h"
#include "ops/counters.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

struct ScalarStep {
    enum Kind : int8_t { kIncrement, kAccumulate, kLookUp, kRequireFinite, kNextStep } kind = kNextStep;
    int64_t* counter = nullptr;
    int64_t by = 0;
    double* total = nullptr;
    ScalarView<double> value;
    double scale = 0;
    VectorView<const double> table;
    ScalarView<int64_t> index;
};

inline ScalarStep scalar_step(const ops::Increment& op) {
    ScalarStep step;
    step.kind = ScalarStep::kIncrement, step.counter = op.counter, step.by = op.by;
    return step;
}

inline ScalarStep scalar_step(const ops::Accumulate& op) {
    ScalarStep step;
    step.kind = ScalarStep::kAccumulate, step.total = op.total, step.value = op.value, step.scale = op.scale;
    return step;
}

inline ScalarStep scalar_step(const ops::LookUp& op) {
    ScalarStep step;
    step.kind = ScalarStep::kLookUp, step.total = op.out, step.table = op.table, step.index = op.index;
    return step;
}

inline ScalarStep scalar_step(const ops::RequireFinite& op) {
    ScalarStep step;
    step.kind = ScalarStep::kRequireFinite, step.value.data = op.value;
    return step;
}

// Runs the steps in order, up to a failure. kNextStep counts the steps of a replay, for the report of a failure.
void launch_scalar_steps(const std::vector<ScalarStep>& steps, Stream& stream);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
