#include "cuda/device/guard.cuh"
#include "cuda/device/warp.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kShort = 16;  // longest row that one thread sums alone

// The inclusive prefix sum: over this lane and the lower lanes of its warp.
__device__ double sum_of_lanes_up_to_mine(double value) {
    const int lane = static_cast<int>(threadIdx.x % kWarp);
    for (int offset = 1; offset < kWarp; offset *= 2) {
        const double below = __shfl_up_sync(kAllLanes, value, offset);
        if (lane >= offset) value += below;
    }
    return value;
}

// A warp sums a piece of a row, 32 items at a time.
template <class T, bool kWrites>
__global__ void __launch_bounds__(kThreads)
    sum_along_kernel(Guard guard, ops::Cumsum<T> op, int64_t length, int64_t pieces) {
    if (is_stopped(guard)) return;
    const int64_t number = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp;
    const int64_t i = number / pieces, begin = number % pieces * length;
    if (i >= op.x.rows) return;
    const int lane = static_cast<int>(threadIdx.x % kWarp);
    const int64_t end = begin + length < op.x.cols ? begin + length : op.x.cols;
    double total = kWrites && pieces > 1 ? op.workspace[number] : 0;
    for (int64_t j0 = begin; j0 < end; j0 += kWarp) {
        const int64_t j = j0 + lane;
        const double sum = sum_of_lanes_up_to_mine(j < end ? static_cast<double>(op.x(i, j)) : 0.0);
        if (kWrites && j < end) op.out(i, j) = static_cast<T>(total + sum);
        total += __shfl_sync(kAllLanes, sum, kWarp - 1);
    }
    if (!kWrites && lane == 0) op.workspace[number] = total;
}

// A thread sums a piece of a row. Used if the rows of neighbouring threads lie side by side, or are short.
template <class T, bool kWrites>
__global__ void __launch_bounds__(kThreads)
    sum_across_kernel(Guard guard, ops::Cumsum<T> op, int64_t length, int64_t pieces) {
    if (is_stopped(guard)) return;
    const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x, piece = blockIdx.y, begin = piece * length;
    if (i >= op.x.rows) return;
    const int64_t end = begin + length < op.x.cols ? begin + length : op.x.cols;
    double total = kWrites && pieces > 1 ? op.workspace[i * pieces + piece] : 0;
    for (int64_t j = begin; j < end; ++j) {
        total += static_cast<double>(op.x(i, j));
        if (kWrites) op.out(i, j) = static_cast<T>(total);
    }
    if (!kWrites) op.workspace[i * pieces + piece] = total;
}

// A warp replaces the totals of a row's pieces by the sums of all pieces before them.
__global__ void __launch_bounds__(kThreads)
    sum_pieces_kernel(Guard guard, VectorView<double> totals, int64_t rows, int64_t pieces) {
    if (is_stopped(guard)) return;
    const int64_t i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / kWarp;
    if (i >= rows) return;
    const int lane = static_cast<int>(threadIdx.x % kWarp);
    double before = 0;
    for (int64_t p0 = 0; p0 < pieces; p0 += kWarp) {
        const int64_t p = p0 + lane;
        const double own = p < pieces ? totals[i * pieces + p] : 0.0, sum = sum_of_lanes_up_to_mine(own);
        const double below = __shfl_up_sync(kAllLanes, sum, 1);
        if (p < pieces) totals[i * pieces + p] = before + (lane > 0 ? below : 0.0);
        before += __shfl_sync(kAllLanes, sum, kWarp - 1);
    }
}

}  // namespace

template <class T>
void launch(const ops::Cumsum<T>& op, Stream& stream) {
    const int64_t length = op.template piece_length<true>(), pieces = op.template pieces<true>();
    if (pieces == 0) return;
    const bool across =
        op.x.cols <= kShort || (op.x.rows > 1 && magnitude(op.x.row_stride) < magnitude(op.x.col_stride));
    const auto grid_of = [](int64_t threads) { return dim3(static_cast<unsigned>(blocks_for(threads, kThreads))); };
    const auto sum = [&](auto along_kernel, auto across_kernel) {
        dim3 grid = grid_of(across ? op.x.rows : op.x.rows * pieces * kWarp);
        if (across) grid.y = static_cast<unsigned>(pieces);
        launch_kernel(stream, across ? across_kernel : along_kernel, grid, dim3(kThreads), 0, stream.guard(), op,
                      length, pieces);
    };
    if (pieces > 1) {
        sum(sum_along_kernel<T, false>, sum_across_kernel<T, false>);
        launch_kernel(stream, sum_pieces_kernel, grid_of(op.x.rows * kWarp), dim3(kThreads), 0, stream.guard(),
                      op.workspace, op.x.rows, pieces);
    }
    sum(sum_along_kernel<T, true>, sum_across_kernel<T, true>);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Cumsum)
