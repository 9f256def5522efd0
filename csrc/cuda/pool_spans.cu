#include "cuda/device/spans.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kAhead = 4;  // rows that a thread loads before it uses the first

// Calls f(place, item) for the items of a column in the rows of a sequence, in their order.
template <class T, class F>
__device__ __forceinline__ void for_each_row(const MatrixView<const T>& x, int64_t first, int64_t length, int64_t j,
                                             F f) {
    int64_t r = 0;
    for (; r + kAhead <= length; r += kAhead) {
        T item[kAhead];
#pragma unroll
        for (int u = 0; u < kAhead; ++u) item[u] = x(first + r + u, j);
#pragma unroll
        for (int u = 0; u < kAhead; ++u) f(r + u, item[u]);
    }
    for (; r < length; ++r) f(r, x(first + r, j));
}

// A thread pools a column of a sequence.
template <class T>
__global__ void __launch_bounds__(kSpanThreads) pool_spans_kernel(Guard guard, ops::PoolSpans<T> op) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kSpanThreads + threadIdx.x;
    if (e >= op.out.rows * op.out.cols) return;
    const int64_t i = e / op.out.cols, j = e % op.out.cols;
    const int64_t first = op.spans.first(i), length = op.spans.length(i);
    T pooled = T(0);
    int64_t row = -1;
    if (length > 0 && op.kind == ops::SpanPooling::kLast) {
        pooled = op.x(first + length - 1, j);
    } else if (length > 0 && op.kind == ops::SpanPooling::kMean) {
        double sum = 0;
        for_each_row(op.x, first, length, j, [&](int64_t, T item) { sum += static_cast<double>(item); });
        pooled = static_cast<T>(sum / static_cast<double>(length));
    } else if (length > 0) {
        for_each_row(op.x, first, length, j, [&](int64_t place, T item) {
            // The first NaN stays.
            if (place > 0 && (item <= pooled || pooled != pooled)) return;
            pooled = item, row = first + place;
        });
    }
    op.out(i, j) = pooled;
    if (op.index) op.index(i, j) = row;
}

template <class T>
__global__ void __launch_bounds__(kSpanThreads)
    pool_spans_backward_kernel(Guard guard, ops::PoolSpansBackward<T> op, SpanBlocks blocks) {
    if (is_stopped(guard)) return;
    for_my_items(op.spans, blocks, [&](int64_t i, int64_t place, int64_t j) {
        const int64_t row = op.spans.first(i) + place, length = op.spans.length(i);
        T d = op.d_y(i, j);
        if (op.kind == ops::SpanPooling::kMean)
            d = d / static_cast<T>(length);
        else if (op.kind == ops::SpanPooling::kLast ? place != length - 1 : op.index(i, j) != row)
            d = T(0);
        op.d_x(row, j) = d;
    });
}

template <class T>
__global__ void __launch_bounds__(kSpanThreads) pool_spans_gather_kernel(Guard guard, ops::PoolSpansGather<T> op) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kSpanThreads + threadIdx.x;
    if (e < op.out.rows * op.out.cols)
        op.out(e / op.out.cols, e % op.out.cols) = op.item(e / op.out.cols, e % op.out.cols);
}

// A thread for each item.
template <class T>
dim3 grid_of(const MatrixView<T>& m) {
    return dim3(static_cast<unsigned>(blocks_for(m.rows * m.cols, kSpanThreads)));
}

}  // namespace

template <class T>
void launch(const ops::PoolSpans<T>& op, Stream& stream) {
    check_spans(op.spans, number_of(op), stream);
    launch_kernel(stream, pool_spans_kernel<T>, grid_of(op.out), dim3(kSpanThreads), 0, stream.guard(), op);
}

template <class T>
void launch(const ops::PoolSpansBackward<T>& op, Stream& stream) {
    check_spans(op.spans, number_of(op), stream);
    const SpanBlocks blocks(op.spans, op.d_x.cols, stream);
    launch_kernel(stream, pool_spans_backward_kernel<T>, blocks.grid(op.spans), dim3(kSpanThreads), 0, stream.guard(),
                  op, blocks);
}

template <class T>
void launch(const ops::PoolSpansGather<T>& op, Stream& stream) {
    launch_kernel(stream, pool_spans_gather_kernel<T>, grid_of(op.out), dim3(kSpanThreads), 0, stream.guard(), op);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(PoolSpans)
STEEPEST_INSTANTIATE(PoolSpansBackward)
STEEPEST_INSTANTIATE(PoolSpansGather)
