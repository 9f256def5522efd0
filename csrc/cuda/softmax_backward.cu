#include "cuda/device/guard.cuh"
#include "cuda/device/softmax_row.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T, class Shape>
struct SoftmaxBackwardMemory {
    GroupArray<T, Shape::kLanes> group;
};

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kThreads, kBlocksAtOnce<T, Shape, 1024>)
    softmax_backward_kernel(Guard guard, ops::SoftmaxBackward<T> op, bool in_vectors) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<SoftmaxBackwardMemory<T, Shape>>().group;
    RowChunk<T, Shape::kLanes, Shape::kVectors> d(in_vectors), y(in_vectors);
    // A group past the last row still runs the loop: its lanes share a warp with other groups.
    for (int64_t i0 = int64_t{blockIdx.x} * Shape::kRows; i0 < op.y.rows; i0 += int64_t{gridDim.x} * Shape::kRows) {
        const int64_t i = i0 + threadIdx.x / Shape::kLanes;
        const VectorView<const T> d_row = row_of(op.d_y, i), y_row = row_of(op.y, i);
        const VectorView<T> out = row_of(op.out, i);
        T maximum = kLowest<T>, shift = kLowest<T>, sum = 0;
        // A short row is loaded once and stays in the registers.
        if constexpr (!Shape::kLong) d.load(d_row, 0, T(0)), y.load(y_row, 0, T(0));
        const auto for_each_chunk = [&](auto&& f) {
            for (int64_t start = 0; start < y_row.size; start += y.kSpan) {
                if constexpr (Shape::kLong) d.load(d_row, start, T(0)), y.load(y_row, start, T(0));
                f(start);
            }
        };
        // Subtracts d_y at the largest y from all d_y: where that y is nearly 1, d_y minus the sum would cancel.
        for_each_chunk([&](int64_t) { y.for_each([&](int q) { maximum = Larger()(maximum, y.item[q]); }); });
        maximum = combine_group<Shape::kLanes>(maximum, memory, Larger());
        for_each_chunk([&](int64_t) { look_at(shift, maximum, y, d); });
        shift = combine_group<Shape::kLanes>(shift, memory, Larger());
        for_each_chunk([&](int64_t) { y.for_each([&](int q) { sum = fma(d.item[q] - shift, y.item[q], sum); }); });
        sum = combine_group<Shape::kLanes>(sum, memory, Plus());
        for_each_chunk([&](int64_t start) {
            y.for_each([&](int q) { y.item[q] *= d.item[q] - shift - sum; });
            y.store(out, start);
        });
    }
}

}  // namespace

template <class T>
void launch(const ops::SoftmaxBackward<T>& op, Stream& stream) {
    const bool in_vectors = has_vector_rows(op.d_y) && has_vector_rows(op.y) && has_vector_rows(op.out);
    with_row_shape<T, 16 / sizeof(T)>(op.y.cols, [&](auto shape) {
        using Shape = decltype(shape);
        launch_kernel(stream, softmax_backward_kernel<T, Shape>, dim3(row_blocks(op.y.rows, Shape::kRows)),
                      dim3(Shape::kThreads), sizeof(SoftmaxBackwardMemory<T, Shape>), stream.guard(), op, in_vectors);
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SoftmaxBackward)
