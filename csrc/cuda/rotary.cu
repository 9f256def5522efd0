#include "common/rotary.h"

#include "cuda/device/lane.cuh"
#include "cuda/device/spans.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

__global__ void __launch_bounds__(kSpanThreads)
    frequencies_kernel(Guard guard, double* frequency, double base, int64_t pairs) {
    if (is_stopped(guard)) return;
    const int64_t j = int64_t{blockIdx.x} * kSpanThreads + threadIdx.x;
    if (j < pairs) frequency[j] = rotary_frequency(base, j, 2 * pairs);
}

// A thread rotates the same pair of all heads of a row.
template <class T>
__global__ void __launch_bounds__(kSpanThreads)
    rotary_kernel(Guard guard, ops::Rotary<T> op, SpanBlocks blocks, const double* frequency) {
    if (is_stopped(guard)) return;
    const int64_t pairs = op.pairs();
    for_my_items(op.spans, blocks, [&](int64_t i, int64_t place, int64_t j) {
        const int64_t row = op.spans.first(i) + place;
        const auto angle = sine_cosine(Lane<double>(op.position(i, place) * frequency[j]));
        const Lane<T> sine(op.inverse ? -angle.sine.value : angle.sine.value), cosine(angle.cosine.value);
        for (int64_t column = j; column < op.x.cols; column += 2 * pairs) {
            Lane<T> a(op.x(row, column)), b(op.x(row, column + pairs));
            rotate(a, b, sine, cosine);
            op.out(row, column) = a.value, op.out(row, column + pairs) = b.value;
        }
    });
}

}  // namespace

template <class T>
void launch(const ops::Rotary<T>& op, Stream& stream) {
    const int64_t pairs = op.pairs();
    check_spans(op.spans, number_of(op), stream);
    if (pairs == 0) return;
    auto* const frequency = static_cast<double*>(stream.state.workspace(pairs * sizeof(double)));
    launch_kernel(stream, frequencies_kernel, dim3(static_cast<unsigned>(blocks_for(pairs, kSpanThreads))),
                  dim3(kSpanThreads), 0, stream.guard(), frequency, op.base, pairs);
    const SpanBlocks blocks(op.spans, pairs, stream);
    launch_kernel(stream, rotary_kernel<T>, blocks.grid(op.spans), dim3(kSpanThreads), 0, stream.guard(), op, blocks,
                  static_cast<const double*>(frequency));
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Rotary)
