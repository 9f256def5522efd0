#include "cuda/device/spans.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

__global__ void __launch_bounds__(kSpanThreads) positions_kernel(Guard guard, ops::Positions op, SpanBlocks blocks) {
    if (is_stopped(guard)) return;
    for_my_items(op.spans, blocks,
                 [&](int64_t i, int64_t place, int64_t) { op.out[op.spans.first(i) + place] = place; });
}

}  // namespace

void launch(const ops::Positions& op, Stream& stream) {
    check_spans(op.spans, number_of(op), stream);
    const SpanBlocks blocks(op.spans, 1, stream);
    launch_kernel(stream, positions_kernel, blocks.grid(op.spans), dim3(kSpanThreads), 0, stream.guard(), op, blocks);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
