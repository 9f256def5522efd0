#include "cuda/device/columns.cuh"
#include "cuda/device/elementwise.cuh"
#include "cuda/device/guard.cuh"
#include "cuda/device/last_block.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kRowsAtOnce = 64;       // minimum number of rows that a block takes
constexpr int64_t kMaxBlocks = 1024;  // maximum number of blocks that share the sums

// Processes vectors of W contiguous items, or single items of any matrix.
template <int W, class T>
__global__ void __launch_bounds__(kThreads)
    prelu_kernel(Guard guard, MatrixView<const T> x, VectorView<const T> slope, MatrixView<T> out) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (e >= x.rows * x.cols / W) return;
    Vector<T, W> items = load_items<W>(x, e);
#pragma unroll
    for (int l = 0; l < W; ++l) {
        const T factor = slope[slope.size == 1 ? 0 : (e * W + l) % x.cols];
        items[l] = items[l] > T(0) ? items[l] : factor * items[l];
    }
    store_items<W>(out, e, items);
}

// d_x of an item, and its term of d_slope.
template <class T>
__device__ __forceinline__ double rectify_backward(const ops::PreluBackward<T>& op, int64_t i, int64_t j, T slope) {
    const T d = op.d_y(i, j), x = op.x(i, j);
    const bool positive = x > T(0);
    op.d_x(i, j) = positive ? d : slope * d;
    return positive ? 0.0 : static_cast<double>(d * x);
}

// A slope for each column: a block sums `width` neighbouring columns over a part of their rows.
template <class T>
__global__ void __launch_bounds__(kThreads)
    prelu_backward_columns_kernel(Guard guard, ops::PreluBackward<T> op, int width, int64_t rows_of_block,
                                  double* partial, unsigned* tickets) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<ColumnsMemory<double, kThreads, 1>>();
    const int down = static_cast<int>(threadIdx.x) / width, height = kThreads / width;
    const int64_t j = int64_t{blockIdx.x} * width + threadIdx.x % width;
    const bool mine = j < op.x.cols;
    const int64_t begin = blockIdx.y * rows_of_block;
    const int64_t end = begin + rows_of_block < op.x.rows ? begin + rows_of_block : op.x.rows;
    const T slope = mine ? op.slope[j] : T(0);
    double total[1] = {0};
    for (int64_t i = begin + down; mine && i < end; i += height) total[0] += rectify_backward(op, i, j, slope);
    merge_down(total, width, memory, Plus());
    if (gridDim.y > 1) {
        if (mine && down == 0) partial[blockIdx.y * op.x.cols + j] = total[0];
        if (!is_last_block(tickets + blockIdx.x, gridDim.y, memory.last)) return;
        total[0] = 0;
        for (unsigned b = down; mine && b < gridDim.y; b += height) total[0] += partial[b * op.x.cols + j];
        merge_down(total, width, memory, Plus());
    }
    if (mine && down == 0) op.d_slope[j] = static_cast<T>(total[0]);
}

// One slope for all columns.
template <class T>
__global__ void __launch_bounds__(kThreads)
    prelu_backward_kernel(Guard guard, ops::PreluBackward<T> op, double* partial, unsigned* ticket) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<GridSumMemory<kThreads>>();
    const int64_t items = op.x.rows * op.x.cols, step = int64_t{gridDim.x} * kThreads;
    const T slope = op.slope[0];
    double sum = 0;
    for (int64_t e = int64_t{blockIdx.x} * kThreads + threadIdx.x; e < items; e += step)
        sum += rectify_backward(op, e / op.x.cols, e % op.x.cols, slope);
    if (sum_over_grid(sum, partial, ticket, memory) && threadIdx.x == 0) op.d_slope[0] = static_cast<T>(sum);
}

}  // namespace

template <class T>
void launch(const ops::Prelu<T>& op, Stream& stream) {
    constexpr int kWidth = kVectorWidth<T>;
    const bool runs = is_vector_run(op.x) && is_vector_run(op.out);
    const int64_t count = op.x.rows * op.x.cols / (runs ? kWidth : 1);
    launch_kernel(stream, runs ? prelu_kernel<kWidth, T> : prelu_kernel<1, T>,
                  dim3(static_cast<unsigned>(blocks_for(count, kThreads))), dim3(kThreads), 0, stream.guard(), op.x,
                  op.slope, op.out);
}

template <class T>
void launch(const ops::PreluBackward<T>& op, Stream& stream) {
    if (op.slope.size == 1) {
        const int64_t wanted = blocks_for(op.x.rows * op.x.cols, int64_t{kThreads} * 8);
        const int64_t blocks = wanted < 1 ? 1 : wanted < kMaxBlocks ? wanted : kMaxBlocks;
        void* const partial = stream.state.workspace(blocks * sizeof(double));
        launch_kernel(stream, prelu_backward_kernel<T>, dim3(static_cast<unsigned>(blocks)), dim3(kThreads),
                      sizeof(GridSumMemory<kThreads>), stream.guard(), op, static_cast<double*>(partial),
                      stream.state.tickets());
        return;
    }
    if (op.x.cols == 0) return;
    int width = 1;
    while (width < kWarp && width < op.x.cols) width *= 2;
    const int64_t tiles = blocks_for(op.x.cols, width), most = tiles < kMaxBlocks ? kMaxBlocks / tiles : 1;
    const int64_t wanted = blocks_for(op.x.rows, kRowsAtOnce);
    int64_t parts = wanted < 1 ? 1 : wanted < most ? wanted : most;
    const int64_t rows_of_block = blocks_for(op.x.rows, parts);
    if (rows_of_block > 0) parts = blocks_for(op.x.rows, rows_of_block);
    void* const partial = parts > 1 ? stream.state.workspace(parts * op.x.cols * sizeof(double)) : nullptr;
    launch_kernel(stream, prelu_backward_columns_kernel<T>,
                  dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(parts)), dim3(kThreads),
                  sizeof(ColumnsMemory<double, kThreads, 1>), stream.guard(), op, width, rows_of_block,
                  static_cast<double*>(partial), stream.state.tickets());
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Prelu)
STEEPEST_INSTANTIATE(PreluBackward)
