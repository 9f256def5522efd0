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

// The steps of a sequence, each with `items` items, are divided among as many blocks for every sequence. How many rows a
// sequence has is known on the device alone, so that the number of blocks follows from the average.
struct SpanBlocks {
    int64_t count;  // for each sequence
    int64_t items;  // of a step

    SpanBlocks(const Spans& spans, int64_t items, const Stream& stream) : count(1), items(items) {
        constexpr int64_t kBlocksOfMultiprocessor = 16;
        if (spans.count == 0) return;
        const int64_t useful = blocks_for(blocks_for(spans.rows, spans.count) * items, kSpanThreads);
        const int64_t most = kBlocksOfMultiprocessor * stream.device.multiprocessors / spans.count;
        const int64_t wanted = useful < most ? useful : most;
        if (wanted > 1) count = wanted;
    }

    dim3 grid(const Spans& spans) const { return dim3(static_cast<unsigned>(items == 0 ? 0 : spans.count * count)); }
};

// Calls f(sequence, place in the sequence, item) for the items of this thread, in a grid of SpanBlocks::grid().
template <class F>
__device__ __forceinline__ void for_my_items(const Spans& spans, const SpanBlocks& blocks, F f) {
    const int64_t i = blockIdx.x / blocks.count, n = spans.length(i) * blocks.items;
    for (int64_t e = blockIdx.x % blocks.count * kSpanThreads + threadIdx.x; e < n; e += blocks.count * kSpanThreads)
        f(i, e / blocks.items, e % blocks.items);
}

}  // namespace
}  // namespace STEEPEST_TARGET
}  // namespace steepest
