#include "cuda/device/columns.cuh"
#include "cuda/device/first_largest.cuh"
#include "cuda/device/guard.cuh"
#include "cuda/device/last_block.cuh"
#include "cuda/device/reductions.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kBlocks = 4;            // blocks at once on a multiprocessor, which limits the registers of a thread
constexpr int64_t kMaxBlocks = 1024;  // maximum number of blocks that share the work for few results

// -------------------------------------------------------------------------------------------- many short rows

template <class R, class T, int Lanes>
__global__ void __launch_bounds__(kThreads, kBlocks)
    reduce_rows_kernel(Guard guard, MatrixView<const T> x, VectorView<T> out, double scale, bool in_vectors) {
    if (is_stopped(guard)) return;
    constexpr int kRows = kThreads / Lanes;
    RowChunk < T, Lanes, Lanes<kWarp ? 2 : 4> chunk(in_vectors);
    // A group past the last row still runs the loop: its lanes share a warp with other groups.
    for (int64_t i0 = int64_t{blockIdx.x} * kRows; i0 < x.rows; i0 += int64_t{gridDim.x} * kRows) {
        const int64_t i = i0 + threadIdx.x / Lanes;
        typename R::Total total = R::kRest;
        add_row<R>(total, chunk, row_of(x, i));
        total = combine_lanes<Lanes>(total, Merge<R>());
        if (i < x.rows && chunk.lane == 0) out[i] = static_cast<T>(scale * static_cast<double>(total));
    }
}

// -------------------------------------------------------------------------------- long rows and whole matrices

// Each result reduces one row of x, or all rows. The rows are cut into pieces for warps.
template <class T>
struct Pieces {
    static constexpr int kLength = RowChunk<T, kWarp, 4>::kSpan;

    MatrixView<const T> x;
    bool whole;       // whether all rows give one result
    bool aligned;     // whether pieces begin with a vector of 16 bytes
    int64_t per_row;  // number of pieces of a row
    int64_t count;    // number of pieces of a result
    unsigned blocks;  // number of blocks that share the pieces of a result

    __device__ VectorView<const T> operator()(int64_t result, int64_t p) const {
        int64_t row = result;
        if (whole) {
            row = x.rows == 1 ? 0 : p / per_row;
            p -= row * per_row;
        }
        const int64_t begin = p * kLength, left = x.cols - begin;
        return {x.row(row) + begin * x.col_stride, left < kLength ? left : kLength, x.col_stride};
    }
};

template <class R>
struct PiecesMemory {
    SharedArray<typename R::Total, kWarps> total;
    SharedArray<int, 1> last;
};

template <class R, class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    reduce_pieces_kernel(Guard guard, Pieces<T> pieces, VectorView<T> out, double scale, typename R::Total* partial,
                         unsigned* tickets) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<PiecesMemory<R>>();
    const int64_t result = blockIdx.x / pieces.blocks;
    const unsigned block = blockIdx.x % pieces.blocks;
    typename R::Total total = R::kRest;
    for (int64_t p = block * kWarps + threadIdx.x / kWarp; p < pieces.count; p += pieces.blocks * kWarps) {
        const VectorView<const T> piece = pieces(result, p);
        RowChunk<T, kWarp, 4> chunk(pieces.aligned && piece.size % kVectorWidth<T> == 0);
        add_row<R>(total, chunk, piece);
    }
    total = combine_block<kThreads>(total, memory.total, Merge<R>());
    if (pieces.blocks > 1) {
        if (threadIdx.x == 0) partial[blockIdx.x] = total;
        if (!is_last_block(tickets + result, pieces.blocks, memory.last)) return;
        total = R::kRest;
        for (unsigned b = threadIdx.x; b < pieces.blocks; b += kThreads)
            total = R::merge(total, partial[result * pieces.blocks + b]);
        total = combine_block<kThreads>(total, memory.total, Merge<R>());
    }
    if (threadIdx.x == 0) out[result] = static_cast<T>(scale * static_cast<double>(total));
}

template <class R, class T>
void reduce_pieces(const MatrixView<const T>& x, bool whole, const VectorView<T>& out, double scale, Stream& stream) {
    Pieces<T> pieces{x, whole, has_aligned_rows(x), blocks_for(x.cols, Pieces<T>::kLength), 0, 1};
    pieces.count = (whole ? x.rows : 1) * pieces.per_row;
    const int64_t wanted = blocks_for(pieces.count, kWarps), most = kMaxBlocks / out.size;
    const int64_t blocks = wanted < most ? wanted : most;
    if (blocks > 1) pieces.blocks = static_cast<unsigned>(blocks);
    const unsigned grid = static_cast<unsigned>(out.size) * pieces.blocks;
    void* const partial = pieces.blocks > 1 ? stream.state.workspace(grid * sizeof(typename R::Total)) : nullptr;
    launch_kernel(stream, reduce_pieces_kernel<R, T>, dim3(grid), dim3(kThreads), sizeof(PiecesMemory<R>),
                  stream.guard(), pieces, out, scale, static_cast<typename R::Total*>(partial), stream.state.tickets());
}

// ---------------------------------------------------------------------------------------------------- columns

constexpr int kRowsAhead = 4;  // rows that a thread loads ahead

// A block reduces `width` neighbouring vectors of W columns over a part of their rows. Its threads are side by side
// along a row, and below one another.
template <class R, class T, int W>
__global__ void __launch_bounds__(kThreads, kBlocks)
    reduce_columns_kernel(Guard guard, MatrixView<const T> x, VectorView<T> out, double scale, int width,
                          int64_t rows_of_block, typename R::Total* partial, unsigned* tickets) {
    if (is_stopped(guard)) return;
    using Total = typename R::Total;
    auto& memory = shared_memory<ColumnsMemory<Total, kThreads, W>>();
    const int down = static_cast<int>(threadIdx.x) / width, height = kThreads / width;
    const int64_t column = (int64_t{blockIdx.x} * width + threadIdx.x % width) * W;
    const bool mine = column < x.cols;
    Total total[W];
    for (Total& t : total) t = R::kRest;
    const int64_t begin = blockIdx.y * rows_of_block;
    const int64_t end = begin + rows_of_block < x.rows ? begin + rows_of_block : x.rows;
    for (int64_t i = begin + down; i < end; i += kRowsAhead * height) {
        Vector<T, W> item[kRowsAhead];
#pragma unroll
        for (int r = 0; r < kRowsAhead; ++r) {
            for (int k = 0; k < W; ++k) item[r][k] = R::kRest;
            if (mine && i + r * height < end)
                item[r] = *reinterpret_cast<const Vector<T, W>*>(&x(i + r * height, column));
        }
#pragma unroll
        for (int r = 0; r < kRowsAhead; ++r)
            for (int k = 0; k < W; ++k) total[k] = R::combine(total[k], item[r][k]);
    }
    merge_down(total, width, memory, Merge<R>());
    if (gridDim.y > 1) {
        if (mine && down == 0)
            for (int k = 0; k < W; ++k) partial[blockIdx.y * x.cols + column + k] = total[k];
        if (!is_last_block(tickets + blockIdx.x, gridDim.y, memory.last)) return;
        for (int k = 0; k < W; ++k) {
            total[k] = R::kRest;
            for (unsigned b = down; mine && b < gridDim.y; b += height)
                total[k] = R::merge(total[k], partial[b * x.cols + column + k]);
        }
        merge_down(total, width, memory, Merge<R>());
    }
    if (mine && down == 0)
        for (int k = 0; k < W; ++k) out[column + k] = static_cast<T>(scale * static_cast<double>(total[k]));
}

template <class R, class T, int W>
void reduce_columns(const MatrixView<const T>& x, const VectorView<T>& out, double scale, Stream& stream) {
    const int64_t vectors = x.cols / W;
    int width = 1;
    while (width < kWarp && width < vectors) width *= 2;
    const int64_t tiles = blocks_for(vectors, width), least_rows = 4 * kRowsAhead * (kThreads / width);
    const int64_t wanted = blocks_for(x.rows, least_rows), most = tiles < kMaxBlocks ? kMaxBlocks / tiles : 1;
    int64_t parts = wanted < 1 ? 1 : wanted < most ? wanted : most;
    const int64_t rows_of_block = blocks_for(x.rows, parts);
    if (rows_of_block > 0) parts = blocks_for(x.rows, rows_of_block);
    void* const partial = parts > 1 ? stream.state.workspace(parts * x.cols * sizeof(typename R::Total)) : nullptr;
    launch_kernel(stream, reduce_columns_kernel<R, T, W>,
                  dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(parts)), dim3(kThreads),
                  sizeof(ColumnsMemory<typename R::Total, kThreads, W>), stream.guard(), x, out, scale, width,
                  rows_of_block, static_cast<typename R::Total*>(partial), stream.state.tickets());
}

// ------------------------------------------------------------------------------------------------ which kernel

template <class R, class T>
void reduce(const ops::Reduce<T>& op, double scale, Stream& stream) {
    if (op.out.size == 0) return;
    // Reduces the rows of x, or all of it. The direction in which its items are contiguous decides the order of access.
    MatrixView<const T> x = op.axis == 0 ? op.x.transposed() : op.x;
    const bool across = magnitude(x.row_stride) < magnitude(x.col_stride);
    if (op.axis < 0) {
        if (across || x.cols == 1) x = x.transposed();
        if (x.rows > 0 && x.row_stride == x.cols * x.col_stride) x = {x.data, 1, x.rows * x.cols, 0, x.col_stride};
        return reduce_pieces<R>(x, true, op.out, scale, stream);
    }
    if (across && x.rows > 1) {
        const MatrixView<const T> columns = x.transposed();
        constexpr int kWidth = kVectorWidth<T>;
        return has_vector_rows(columns) ? reduce_columns<R, T, kWidth>(columns, op.out, scale, stream)
                                        : reduce_columns<R, T, 1>(columns, op.out, scale, stream);
    }
    if (x.cols > 2048) return reduce_pieces<R>(x, false, op.out, scale, stream);
    const auto launch_rows = [&](auto kernel, int lanes) {
        launch_kernel(stream, kernel, dim3(row_blocks(x.rows, kThreads / lanes)), dim3(kThreads), 0, stream.guard(), x,
                      op.out, scale, has_vector_rows(x));
    };
    x.cols <= 64 ? launch_rows(reduce_rows_kernel<R, T, 8>, 8) : launch_rows(reduce_rows_kernel<R, T, kWarp>, kWarp);
}

template <class T, int Lanes>
__global__ void __launch_bounds__(kThreads, 3)
    argmax_kernel(Guard guard, MatrixView<const T> x, VectorView<int64_t> out, bool in_vectors) {
    if (is_stopped(guard)) return;
    constexpr int kRows = kThreads / Lanes;
    auto& memory = shared_memory<LargestMemory<T, Lanes>>();
    for (int64_t i0 = int64_t{blockIdx.x} * kRows; i0 < x.rows; i0 += int64_t{gridDim.x} * kRows) {
        const int64_t i = i0 + threadIdx.x / Lanes;
        const int64_t best = first_largest<Lanes>(row_of(x, i), in_vectors, memory);
        if (i < x.rows && threadIdx.x % Lanes == 0) out[i] = best;
    }
}

}  // namespace

template <class T>
void launch(const ops::Reduce<T>& op, Stream& stream) {
    const auto& x = op.x;
    switch (op.kind) {
        case ops::Reduction::kSum: return reduce<SumOf<T>>(op, 1, stream);
        case ops::Reduction::kMean: {
            const int64_t n = op.axis < 0 ? x.rows * x.cols : op.axis == 0 ? x.rows : x.cols;
            return reduce<SumOf<T>>(op, 1.0 / static_cast<double>(n), stream);
        }
        case ops::Reduction::kSumSquares: return reduce<SumOfSquares<T>>(op, 1, stream);
        case ops::Reduction::kMax: return reduce<MaximumOf<T>>(op, 1, stream);
        case ops::Reduction::kMin: return reduce<MinimumOf<T>>(op, 1, stream);
    }
}

template <class T>
void launch(const ops::Argmax<T>& op, Stream& stream) {
    with_lanes<kThreads>(op.x.cols, [&](auto lanes) {
        constexpr int kLanes = decltype(lanes)::value;
        launch_kernel(stream, argmax_kernel<T, kLanes>, dim3(row_blocks(op.x.rows, kThreads / kLanes)), dim3(kThreads),
                      sizeof(LargestMemory<T, kLanes>), stream.guard(), op.x, op.out, has_vector_rows(op.x));
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Reduce)
STEEPEST_INSTANTIATE(Argmax)
