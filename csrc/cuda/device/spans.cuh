// The check of spans by a kernel of its own, before the kernels that use them.
#pragma once

#include "common/spans.h"
#include "cuda/device/guard.cuh"
#include "cuda/device/reductions.cuh"
#include "cuda/launch.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kSpanThreads = 256;

struct SpanCheckMemory {
    SharedArray<int64_t, kSpanThreads / kWarp> span;
};

__global__ void __launch_bounds__(kSpanThreads)
    check_spans_kernel(Guard guard, Spans spans, OperationNumber operation) {
    if (is_stopped(guard)) return;
    int64_t bad = spans.count;
    for (int64_t i = threadIdx.x; i < spans.count && bad == spans.count; i += kSpanThreads)
        if (spans.is_bad(i)) bad = i;
    bad = combine_block<kSpanThreads>(bad, shared_memory<SpanCheckMemory>().span, Smaller());
    if (threadIdx.x == 0 && bad < spans.count) report_failure(guard, spans.failure_of(bad, operation));
}

inline void check_spans(const Spans& spans, OperationNumber operation, Stream& stream) {
    if (!spans.table) return;
    launch_kernel(stream, check_spans_kernel, dim3(1), dim3(kSpanThreads), sizeof(SpanCheckMemory), stream.guard(),
                  spans, operation);
}

}  // namespace
}  // namespace STEEPEST_TARGET
}  // namespace steepest
