#include "cuda/device/guard.cuh"
#include "cuda/device/reductions.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;

// A group of lanes processes a sample: its row of x, and then its rows of d one after the other.
template <class T, int Lanes>
__global__ void __launch_bounds__(kThreads)
    norms_kernel(Guard guard, ops::GradientNorms<T> op, int64_t repeats, bool x_in_vectors, bool d_in_vectors) {
    if (is_stopped(guard)) return;
    constexpr int kRows = kThreads / Lanes, kVectors = Lanes < kWarp ? 2 : 4;
    RowChunk<T, Lanes, kVectors> x(x_in_vectors), d(d_in_vectors);
    const auto squared_norm = [](auto& chunk, const VectorView<const T>& row) {
        double total = 0;
        add_row<SumOfSquares<T>>(total, chunk, row);
        return combine_lanes<Lanes>(total, Plus());
    };
    // A group past the last sample still runs the loop: its lanes share a warp with other groups.
    for (int64_t i0 = int64_t{blockIdx.x} * kRows; i0 < op.x.rows; i0 += int64_t{gridDim.x} * kRows) {
        const int64_t i = i0 + threadIdx.x / Lanes;
        const double factor = squared_norm(x, row_of(op.x, i)) + (op.bias ? 1 : 0);
        for (int64_t s = 0; s < repeats; ++s) {
            const int64_t r = i * repeats + s;
            const double norm = factor * squared_norm(d, row_of(op.d, r));
            if (i < op.x.rows && d.lane == 0) op.out[r] = op.accumulate ? op.out[r] + norm : norm;
        }
    }
}

}  // namespace

template <class T>
void launch(const ops::GradientNorms<T>& op, Stream& stream) {
    const auto launch_lanes = [&](auto kernel, int lanes) {
        launch_kernel(stream, kernel, dim3(row_blocks(op.x.rows, kThreads / lanes)), dim3(kThreads), 0, stream.guard(),
                      op, op.repeats(), has_vector_rows(op.x), has_vector_rows(op.d));
    };
    if (op.x.cols <= 64 && op.d.cols <= 64)
        launch_lanes(norms_kernel<T, 8>, 8);
    else
        launch_lanes(norms_kernel<T, kWarp>, kWarp);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(GradientNorms)
