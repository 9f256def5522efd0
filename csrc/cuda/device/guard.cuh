// How kernels stop after a failure. A kernel that finds a fault in the data reports it once; from then on every kernel
// of the stream returns at its start, as nothing after the fault would have run on the CPU. No host waits for this.
#pragma once

#include "cuda/device/platform.cuh"
#include "cuda/guard.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The same for all threads of a grid, unless the grid itself may report: each of its blocks then decides together.
__device__ __forceinline__ bool is_stopped(const Guard& guard) {
    return *static_cast<volatile int*>(guard.stopped) != 0;
}

// The first report counts.
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
