#include <cmath>

#include "common/row_weights.h"
#include "common/triangle.h"
#include "cuda/device/guard.cuh"
#include "cuda/device/last_block.cuh"
#include "cuda/device/simt_tile.cuh"
#include "cuda/device/tile_loader.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kStages = 3;  // tiles in the ring
constexpr int kShareThreads = 256;

template <class T>
struct Tiles;
template <>
struct Tiles<float> {
    using Large = SimtTile<float, 64, 64, 16, 8, 4>;
    using Small = SimtTile<float, 32, 32, 16, 4, 4>;
};
template <>
struct Tiles<double> {
    using Large = SimtTile<double, 64, 64, 8, 4, 4>;
    using Small = SimtTile<double, 32, 32, 16, 4, 4>;
};

struct ShareMemory {
    SharedArray<double, kShareThreads / kWarp> partial;
};

// Stores the normalised weights of the rows, each over the sum of all, followed by 1. All are 0 if the sum is 0.
template <class T>
__global__ void __launch_bounds__(kShareThreads) share_kernel(Guard guard, VectorView<const T> weight, T* shares) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<ShareMemory>();
    double total = 0;
    for (int64_t i = threadIdx.x; i < weight.size; i += kShareThreads) total += static_cast<double>(weight[i]);
    total = combine_block<kShareThreads>(total, memory.partial, Plus());
    for (int64_t i = threadIdx.x; i < weight.size; i += kShareThreads)
        shares[i] = total != 0 ? static_cast<T>(static_cast<double>(weight[i]) / total) : T(0);
    if (threadIdx.x == 0) shares[weight.size] = total != 0 ? T(1) : T(0);
}

template <class T>
struct MomentPlan {
    const T* shares;  // normalised weights of the rows, or absent if they are equal
    T factor;         // factor of the sums of products
    T scale;
    int64_t parts, inner_per_part;  // number of parts of the rows, and rows in a part
    T* partials;                    // results of the parts, if there are several
    unsigned* tickets;
};

template <class Tile>
struct MomentMemory {
    using T = typename Tile::T;
    static constexpr int kEdge = Tile::kRows, kStride = kEdge + Tile::kPadding, kTile = kStride * Tile::kInner;
    static constexpr int kResultStride = kEdge + 1;  // odd: rows and columns of the result are spread over the banks
    static_assert(Tile::kRows == Tile::kCols, "a tile and its mirror image have one shape");
    SharedArray<T, kStages * kTile> rows, cols;
    SharedArray<T, kEdge * kResultStride> result;
    SharedArray<int, 1> last;
};

// Multiplies the tile's rows of x by their weights, and writes the ones; rows of weight 0 may hold NaN.
template <class Tile, class T>
__device__ void weigh_tile(MomentMemory<Tile>& memory, int at, const T* shares, int64_t inner, int64_t end,
                           int64_t ones_row) {
    using Memory = MomentMemory<Tile>;
    for (int e = static_cast<int>(threadIdx.x); e < Tile::kInner * Memory::kEdge; e += Tile::kThreads) {
        const int k = e / Memory::kEdge, i = e % Memory::kEdge, item = at + k * Memory::kStride + i;
        const T share = inner + k >= end ? T(0) : shares ? shares[inner + k] : T(1);
        if (i == ones_row)
            memory.rows[item] = share;
        else if (shares)
            memory.rows[item] = share != 0 ? share * memory.rows[item] : T(0);
        if (share == 0) memory.cols[item] = T(0);
    }
}

// Computes a tile on or below the diagonal, and its mirror image.
template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads)
    moment_kernel(Guard guard, ops::SecondMoment<typename Tile::T> op, MatrixView<const typename Tile::T> x_t,
                  Walk walk, MomentPlan<typename Tile::T> plan) {
    using T = typename Tile::T;
    using Memory = MomentMemory<Tile>;
    constexpr int kEdge = Memory::kEdge;
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<Memory>();
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t tile = blockIdx.x / plan.parts, part = blockIdx.x % plan.parts, size = op.out.rows;
    int64_t row, col;
    triangle_item(tile, row, col);
    row *= kEdge, col *= kEdge;
    const int64_t begin = part * plan.inner_per_part;
    const int64_t end = begin + plan.inner_per_part < op.x.rows ? begin + plan.inner_per_part : op.x.rows;
    const int64_t tiles = (end - begin + Tile::kInner - 1) / Tile::kInner;
    const int64_t ones_row = op.ones ? op.x.cols - row : -1;  // the row of the tile that holds the ones, if any
    const bool weighs = plan.shares || (ones_row >= 0 && ones_row < kEdge);

    using Loader = TileLoader<T, kEdge, Tile::kInner, Memory::kStride, Tile::kThreads>;
    Loader load_rows(x_t, walk, row, begin, end), load_cols(x_t, walk, col, begin, end);
    int64_t fetched = 0;
    int place = 0;  // place in the ring of the tile that is fetched next
    const auto fetch = [&] {
        if (fetched < tiles) {
            load_rows.fetch(memory.rows, place * Memory::kTile);
            load_cols.fetch(memory.cols, place * Memory::kTile);
        }
        ++fetched;
        place = place + 1 == kStages ? 0 : place + 1;
        copy_async_commit();  // an empty group keeps the count of groups right
    };

    Tile product;
    for (int t = 0; t < kStages - 1; ++t) fetch();
    int now = 0;
    for (int64_t t = 0; t < tiles; ++t) {
        copy_async_wait<kStages - 2>();  // this thread's share of tile t has arrived
        __syncthreads();                 // and that of all others; all have multiplied tile t - 1
        fetch();                         // tile t + kStages - 1, into the place of tile t - 1
        if (weighs) {
            weigh_tile<Tile>(memory, now * Memory::kTile, plan.shares, begin + t * Tile::kInner, end, ones_row);
            __syncthreads();  // all items are weighed
        }
        product.multiply(memory.rows, now * Memory::kTile, memory.cols, now * Memory::kTile);
        now = now + 1 == kStages ? 0 : now + 1;
    }

    if (plan.parts > 1) {
        constexpr int64_t kItems = int64_t{kEdge} * kEdge;
        T* const partials = plan.partials + tile * plan.parts * kItems;
#pragma unroll
        for (int e = 0; e < Tile::kItems; ++e) partials[part * kItems + e * Tile::kThreads + thread] = product.sum[e];
        if (!is_last_block(plan.tickets + tile, static_cast<unsigned>(plan.parts), memory.last)) return;
#pragma unroll
        for (int e = 0; e < Tile::kItems; ++e) product.sum[e] = T(0);
        for (int64_t p = 0; p < plan.parts; ++p)
#pragma unroll
            for (int e = 0; e < Tile::kItems; ++e) product.sum[e] += partials[p * kItems + e * Tile::kThreads + thread];
    }

    product.for_each_run([&](int i, int j, const Vector<T, Tile::kWidth>& run) {
#pragma unroll
        for (int l = 0; l < Tile::kWidth; ++l) memory.result[i * Memory::kResultStride + j + l] = run[l];
    });
    __syncthreads();  // the result is written
    const T decay = static_cast<T>(op.decay.get());
    for (int e = thread; e < kEdge * kEdge; e += Tile::kThreads) {
        const int i = e / kEdge, j = e % kEdge;
        const int64_t r = row + i, c = col + j;
        if (r >= size || c > r) continue;
        const int at = i * Memory::kResultStride + j;
        T item = plan.factor * memory.result[at];
        if (c == op.x.cols) item = plan.shares ? plan.scale * plan.shares[op.x.rows] : plan.scale;  // ones x ones
        if (decay != 0) item = std::fma(decay, op.out(r, c), item);
        op.out(r, c) = memory.result[at] = item;
    }
    __syncthreads();  // all items are finished
    // Neighbouring threads store neighbouring items of a row above the diagonal.
    for (int e = thread; e < kEdge * kEdge; e += Tile::kThreads) {
        const int i = e % kEdge, j = e / kEdge;
        const int64_t r = row + i, c = col + j;
        if (r < size && c < r) op.out(c, r) = memory.result[i * Memory::kResultStride + j];
    }
}

// With few tiles, several blocks share each tile, and divide the rows of x.
template <class Tile, class T>
void launch_tiles(const ops::SecondMoment<T>& op, Stream& stream) {
    constexpr int64_t kEdge = Tile::kRows, kMaxParts = 64, kLeast = 8;  // kLeast: minimum number of tiles in a part
    const int64_t n = op.x.rows, tiles = triangle_items(blocks_for(op.out.rows, kEdge));
    const int64_t inner_tiles = blocks_for(n, Tile::kInner);
    int64_t parts = 1;
    while (parts < kMaxParts && tiles * parts < stream.device.multiprocessors && 2 * parts * kLeast <= inner_tiles)
        parts *= 2;
    MomentPlan<T> plan{};
    plan.inner_per_part = blocks_for(inner_tiles, parts) * Tile::kInner;
    plan.parts = blocks_for(n, plan.inner_per_part);
    plan.tickets = stream.state.tickets();
    plan.scale = static_cast<T>(op.scale);
    plan.factor = static_cast<T>(op.sample_weight ? op.scale : op.scale / static_cast<double>(n));
    const int64_t partial_items = plan.parts > 1 ? tiles * plan.parts * kEdge * kEdge : 0;
    const int64_t shares = op.sample_weight ? n + 1 : 0;
    if (partial_items + shares > 0)
        plan.partials = static_cast<T*>(stream.state.workspace((partial_items + shares) * sizeof(T)));
    if (op.sample_weight) {
        T* const to = plan.partials + partial_items;
        launch_kernel(stream, share_kernel<T>, dim3(1), dim3(kShareThreads), sizeof(ShareMemory), stream.guard(),
                      op.sample_weight, to);
        plan.shares = to;
    }
    const MatrixView<const T> x_t = op.x.transposed();
    launch_kernel(stream, moment_kernel<Tile>, dim3(static_cast<unsigned>(tiles * plan.parts)), dim3(Tile::kThreads),
                  sizeof(MomentMemory<Tile>), stream.guard(), op, x_t, walk_over(x_t), plan);
}

}  // namespace

// Uses small tiles if there are fewer large tiles than multiprocessors.
template <class T>
void launch(const ops::SecondMoment<T>& op, Stream& stream) {
    using Large = typename Tiles<T>::Large;
    if (triangle_items(blocks_for(op.out.rows, Large::kRows)) < stream.device.multiprocessors)
        launch_tiles<typename Tiles<T>::Small>(op, stream);
    else
        launch_tiles<Large>(op, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SecondMoment)
