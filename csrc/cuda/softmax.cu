#include "cuda/device/guard.cuh"
#include "cuda/device/softmax_row.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T, class Shape>
struct SoftmaxMemory {
    GroupArray<T, Shape::kLanes> group;
};

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kThreads, kBlocksAtOnce<T, Shape, 2048>)
    softmax_kernel(Guard guard, ops::Softmax<T> op, bool in_vectors) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<SoftmaxMemory<T, Shape>>().group;
    RowChunk<T, Shape::kLanes, Shape::kVectors> x(in_vectors);
    // A group past the last row still runs the loop: its lanes share a warp with other groups.
    for (int64_t i0 = int64_t{blockIdx.x} * Shape::kRows; i0 < op.x.rows; i0 += int64_t{gridDim.x} * Shape::kRows) {
        const int64_t i = i0 + threadIdx.x / Shape::kLanes;
        const VectorView<const T> row = row_of(op.x, i);
        const VectorView<T> out = row_of(op.out, i);
        T maximum, sum = 0;
        if constexpr (Shape::kLong) {
            long_row_statistics<Shape::kLanes>(row, in_vectors, memory, maximum, sum);
        } else {
            x.load(row, 0, kLowest<T>);
            maximum = maximum_of_row(x, memory);
            x.for_each([&](int q) {
                const T shifted = x.item[q] - maximum, e = exp(shifted);
                sum += e;
                x.item[q] = op.logarithm ? shifted : e;
            });
            sum = combine_group<Shape::kLanes>(sum, memory, Plus());
        }
        // The result is e / sum, or shifted - log(sum).
        const T factor = op.logarithm ? T(1) : T(1) / sum, minus = op.logarithm ? -std::log(sum) : T(0);
        if constexpr (Shape::kLong) {
            for (int64_t start = 0; start < row.size; start += x.kSpan) {
                x.load(row, start, kLowest<T>);
                x.for_each([&](int q) {
                    const T shifted = x.item[q] - maximum;
                    x.item[q] = fma(op.logarithm ? shifted : exp(shifted), factor, minus);
                });
                x.store(out, start);
            }
        } else {
            x.for_each([&](int q) { x.item[q] = fma(x.item[q], factor, minus); });
            x.store(out, 0);
        }
    }
}

}  // namespace

template <class T>
void launch(const ops::Softmax<T>& op, Stream& stream) {
    const bool in_vectors = has_vector_rows(op.x) && has_vector_rows(op.out);
    with_row_shape<T, 32 / sizeof(T)>(op.x.cols, [&](auto shape) {
        using Shape = decltype(shape);
        launch_kernel(stream, softmax_kernel<T, Shape>, dim3(row_blocks(op.x.rows, Shape::kRows)),
                      dim3(Shape::kThreads), sizeof(SoftmaxMemory<T, Shape>), stream.guard(), op, in_vectors);
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Softmax)
