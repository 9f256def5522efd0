#include <cmath>

#include "common/triangle.h"
#include "cuda/device/guard.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kSide = 16, kThreads = kSide * kSide;  // threads down and across a tile
constexpr int kInner = 16;                           // columns in shared memory at once
constexpr int64_t kColumns = 512;                    // columns whose products are summed in T, then added in float64

// A thread computes Each x Each items of a tile, kSide apart.
template <class T, int Each>
struct GramMemory {
    static constexpr int kEdge = kSide * Each, kStride = kEdge + 1;
    SharedArray<T, kInner * kStride> rows, cols;
    SharedArray<double, kEdge * kStride> tile;
};

// The products of rows `row` .. and `col` .. of z; rows past the end count as zero.
template <class T, int Each>
__device__ __forceinline__ void multiply_rows(GramMemory<T, Each>& memory, const MatrixView<const T>& z, int64_t row,
                                              int64_t col, double (&sum)[Each][Each]) {
    using Memory = GramMemory<T, Each>;
    const int thread = static_cast<int>(threadIdx.x), down = thread / kSide, across = thread % kSide;
    const bool rows_first =
        magnitude(z.row_stride) < magnitude(z.col_stride);  // neighbouring threads load neighbouring items
#pragma unroll
    for (int i = 0; i < Each; ++i)
#pragma unroll
        for (int j = 0; j < Each; ++j) sum[i][j] = 0;
    for (int64_t begin = 0; begin < z.cols; begin += kColumns) {
        const int64_t end = z.cols - begin < kColumns ? z.cols : begin + kColumns;
        T part[Each][Each] = {};
        for (int64_t k0 = begin; k0 < end; k0 += kInner) {
            __syncthreads();  // all have multiplied what is there
            for (int e = thread; e < kInner * Memory::kEdge; e += kThreads) {
                const int i = rows_first ? e % Memory::kEdge : e / kInner;
                const int k = rows_first ? e / Memory::kEdge : e % kInner;
                const bool has_column = k0 + k < end;
                const int at = k * Memory::kStride + i;
                memory.rows[at] = has_column && row + i < z.rows ? z(row + i, k0 + k) : T(0);
                memory.cols[at] = has_column && col + i < z.rows ? z(col + i, k0 + k) : T(0);
            }
            __syncthreads();  // all items are loaded
#pragma unroll
            for (int k = 0; k < kInner; ++k) {
                T left[Each], right[Each];
#pragma unroll
                for (int i = 0; i < Each; ++i) {
                    left[i] = memory.rows[k * Memory::kStride + down + i * kSide];
                    right[i] = memory.cols[k * Memory::kStride + across + i * kSide];
                }
#pragma unroll
                for (int i = 0; i < Each; ++i)
#pragma unroll
                    for (int j = 0; j < Each; ++j) part[i][j] = std::fma(left[i], right[j], part[i][j]);
            }
        }
#pragma unroll
        for (int i = 0; i < Each; ++i)
#pragma unroll
            for (int j = 0; j < Each; ++j) sum[i][j] += static_cast<double>(part[i][j]);
    }
}

// Computes the lower triangle of x @ x.T.
template <class T, int Each>
__global__ void __launch_bounds__(kThreads)
    multiply_inputs_kernel(Guard guard, MatrixView<const T> x, MatrixView<double> products) {
    if (is_stopped(guard)) return;
    using Memory = GramMemory<T, Each>;
    auto& memory = shared_memory<Memory>();
    const int down = static_cast<int>(threadIdx.x) / kSide, across = static_cast<int>(threadIdx.x) % kSide;
    int64_t row, col;
    triangle_item(blockIdx.x, row, col);
    row *= Memory::kEdge, col *= Memory::kEdge;
    double sum[Each][Each];
    multiply_rows(memory, x, row, col, sum);
    for (int i = 0; i < Each; ++i)
        for (int j = 0; j < Each; ++j) {
            const int64_t r = row + down + i * kSide, c = col + across + j * kSide;
            if (r < x.rows && c <= r) products(r, c) = sum[i][j];
        }
}

// Computes a tile of out on or below the diagonal, and its mirror image. `products` holds the products of the inputs if
// a sample has several rows.
template <class T, int Each>
__global__ void __launch_bounds__(kThreads)
    gram_kernel(Guard guard, ops::GradientGram<T> op, int64_t repeats, MatrixView<const double> products) {
    if (is_stopped(guard)) return;
    using Memory = GramMemory<T, Each>;
    auto& memory = shared_memory<Memory>();
    const int down = static_cast<int>(threadIdx.x) / kSide, across = static_cast<int>(threadIdx.x) % kSide;
    const int64_t size = op.d.rows;
    int64_t row, col;
    triangle_item(blockIdx.x, row, col);
    row *= Memory::kEdge, col *= Memory::kEdge;
    double factor[Each][Each] = {}, sum[Each][Each];
    if (!products) multiply_rows(memory, op.x, row, col, factor);
    multiply_rows(memory, op.d, row, col, sum);
    const double bias = op.bias ? 1 : 0;
#pragma unroll
    for (int i = 0; i < Each; ++i)
#pragma unroll
        for (int j = 0; j < Each; ++j) {
            const int64_t r = row + down + i * kSide, c = col + across + j * kSide;
            if (r >= size || c > r) continue;
            if (products) factor[i][j] = products(r / repeats, c / repeats);
            double item = (factor[i][j] + bias) * sum[i][j];
            if (op.accumulate) item += op.out(r, c);
            op.out(r, c) = item;
            memory.tile[(down + i * kSide) * Memory::kStride + across + j * kSide] = item;
        }
    __syncthreads();  // the tile is complete
    // Neighbouring threads store neighbouring items of a row above the diagonal.
    for (int i = 0; i < Each; ++i)
        for (int j = 0; j < Each; ++j) {
            const int to_row = down + i * kSide, to_col = across + j * kSide;
            const int64_t r = col + to_row, c = row + to_col;
            if (c < size && r < c) op.out(r, c) = memory.tile[to_col * Memory::kStride + to_row];
        }
}

template <class T, int Each>
void launch_tiles(const ops::GradientGram<T>& op, Stream& stream) {
    using Memory = GramMemory<T, Each>;
    const int64_t n = op.x.rows, repeats = op.repeats();
    const auto grid_of = [](int64_t size) {
        return dim3(static_cast<unsigned>(triangle_items(blocks_for(size, Memory::kEdge))));
    };
    MatrixView<double> products;
    if (repeats > 1) {
        products = {op.workspace.data, n, n, n, 1};
        launch_kernel(stream, multiply_inputs_kernel<T, Each>, grid_of(n), dim3(kThreads), sizeof(Memory),
                      stream.guard(), op.x, products);
    }
    launch_kernel(stream, gram_kernel<T, Each>, grid_of(op.d.rows), dim3(kThreads), sizeof(Memory), stream.guard(), op,
                  repeats, MatrixView<const double>{products.data, n, n, n, 1});
}

}  // namespace

// Uses small tiles if there are fewer large tiles than multiprocessors.
template <class T>
void launch(const ops::GradientGram<T>& op, Stream& stream) {
    constexpr int64_t kLarge = 1024;
    if (op.d.rows < kLarge)
        launch_tiles<T, 2>(op, stream);
    else
        launch_tiles<T, 4>(op, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(GradientGram)
