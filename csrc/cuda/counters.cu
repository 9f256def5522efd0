#include "cuda/counters.h"

#include "cuda/device/guard.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kMaxSteps = 16;

struct ScalarSteps {
    ScalarStep step[kMaxSteps];
    int count = 0;
};

__global__ void scalar_steps_kernel(Guard guard, ScalarSteps steps) {
    if (is_stopped(guard)) return;
    for (int i = 0; i < steps.count; ++i) {
        const ScalarStep& s = steps.step[i];
        switch (s.kind) {
            case ScalarStep::kIncrement: *s.counter += s.by; break;
            case ScalarStep::kAccumulate: *s.total += s.scale * s.value.get(); break;
            case ScalarStep::kLookUp: *s.total = ops::LookUp::item(s.table, s.index.get()); break;
            case ScalarStep::kNextStep: ++*guard.step; break;
            case ScalarStep::kRequireFinite: {
                const double value = s.value.get();
                if (value - value == 0) break;  // for infinity and NaN the difference is NaN
                Failure failure;
                failure.kind = Failure::kNotFinite, failure.operation = OperationNumber::kRequireFinite;
                failure.number = value;
                return report_failure(guard, failure);
            }
        }
    }
}

}  // namespace

void launch_scalar_steps(const std::vector<ScalarStep>& steps, Stream& stream) {
    for (size_t begin = 0; begin < steps.size(); begin += kMaxSteps) {
        ScalarSteps table;
        for (size_t i = begin; i < steps.size() && i < begin + kMaxSteps; ++i) table.step[table.count++] = steps[i];
        launch_kernel(stream, scalar_steps_kernel, dim3(1), dim3(1), 0, stream.guard(), table);
    }
}

void launch(const ops::Increment& op, Stream& stream) { launch_scalar_steps({scalar_step(op)}, stream); }
void launch(const ops::Accumulate& op, Stream& stream) { launch_scalar_steps({scalar_step(op)}, stream); }
void launch(const ops::LookUp& op, Stream& stream) { launch_scalar_steps({scalar_step(op)}, stream); }
void launch(const ops::RequireFinite& op, Stream& stream) { launch_scalar_steps({scalar_step(op)}, stream); }

}  // namespace STEEPEST_TARGET
}  // namespace steepest
