// How kernels stop after a failure. A kernel that finds invalid data reports it once. From then on every kernel of the
// stream returns at its start: on the CPU too, nothing runs after a failure. The host does not wait for this.
#pragma once

#include "cuda/device/platform.cuh"
#include "cuda/guard.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// All threads of a grid get the same answer, unless the grid itself may report a failure. Then the threads of each
// block decide together.
__device__ __forceinline__ bool is_stopped(const Guard& guard) {
    return *static_cast<volatile int*>(guard.stopped) != 0;
}

// Only the first report is kept.
__device__ inline void report_failure(const Guard& guard, Failure failure) {
    if (atomicCAS(guard.stopped, 0, 1) != 0) return;
    const Failure::Kind kind = failure.kind;
    failure.kind = Failure::kNone;
    failure.step = *guard.step;
    *guard.report = failure;
    __threadfence_system();  // the host reads the kind first
    *reinterpret_cast<volatile int8_t*>(&guard.report->kind) = static_cast<int8_t>(kind);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
