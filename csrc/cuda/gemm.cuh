// The matrix product behind every linear operation: c = epilogue(a @ b), for operands of any strides.
//
// A block computes one tile of c from a ring of tiles of a and b in shared memory. Tiles are fetched asynchronously
// while others are multiplied. If c has too few tiles for the device, several blocks share one tile, and each takes a
// part of the inner dimension. The last block to finish adds the parts in their order, so the result does not depend on
// which block it is. A launch may compute several independent products.
#pragma once

#include "cuda/device/epilogue.cuh"
#include "cuda/device/guard.cuh"
#include "cuda/device/last_block.cuh"
#include "cuda/device/rule.cuh"
#include "cuda/device/tile_loader.cuh"
#include "cuda/update_target.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int kStages = 3;     // tiles in the ring
constexpr int kTileGroup = 8;  // tiles down that blocks take before moving across, which keeps operands in the cache

template <class T>
struct Product {
    MatrixView<const T> a;    // (m, k)
    MatrixView<const T> b_t;  // (n, k)
    MatrixView<T> c;          // (m, n)
    Epilogue<T> epilogue;
    VectorView<T> b_sums;  // (n,) sums of b over k, or absent
    Walk a_walk, b_walk;
    bool vector_stores;
    int64_t tiles_down, tiles_across;
    int64_t parts, inner_per_part;  // number of parts of k, and items of k in a part
    T* partials;                    // results of the parts of k, if there are several
    unsigned* tickets;
    int64_t first_block;  // number of its first block in the launch
};

template <class T, int N>
struct ProductGroup {
    Product<T> product[N];
    int count = 0;
};

// What a launch does with the results beside storing them: nothing, or the update of the parameters whose gradients
// they are. c is the gradient of `param` and b_sums that of `bias`.
struct NoUpdate {
    template <class T>
    struct Memory {};
};

template <class T, int N>
struct GroupUpdate {
    template <class>
    struct Memory {
        SharedArray<StepNumbers<T>, 1> numbers;
    };
    StepSource<T> source;
    UpdateTarget<T> target[N];
};

template <class Update>
constexpr bool kUpdates = !std::is_same_v<Update, NoUpdate>;

template <class Tile, class Update>
struct GemmMemory {
    using T = typename Tile::T;
    static constexpr int kAStride = Tile::kRows + Tile::kPadding, kBStride = Tile::kCols + Tile::kPadding;
    static constexpr int kATile = kAStride * Tile::kInner, kBTile = kBStride * Tile::kInner;

    SharedArray<T, kStages * kATile> a;
    SharedArray<T, kStages * kBTile> b;
    SharedArray<int, 1> last;
    typename Update::template Memory<T> update;
};

// The layout of a tile of c in the shared memory of the tiles of a, on its way to global memory.
template <class Tile, class Update>
struct RowPasses {
    static constexpr int kStride = Tile::kCols + Tile::kPadding;
    static constexpr int kWidth = kVectorWidth<typename Tile::T>;  // items that one instruction stores
    static constexpr int kRuns = Tile::kCols / kWidth;             // runs of a row
    static constexpr int kRoom = kStages * GemmMemory<Tile, Update>::kATile / kStride;
    static constexpr int kRows = kRoom >= Tile::kRows ? Tile::kRows : kRoom >= 64 ? 64 : kRoom >= 32 ? 32 : 16;
    static_assert(kRoom >= kRows && Tile::kRows % kRows == 0);
};

// The number of items that a part stores: a tile of c, and the sums of b.
template <class Tile>
constexpr int64_t kPartItems = Tile::kRows * Tile::kCols + Tile::kCols;

// Multiplies `tiles` tiles while later ones are fetched; fetch(place) fetches the next tile into a place of the ring. One
// thread for each column of b sums it into b_sum.
template <class Tile, class Ring, class Fetch>
__device__ __forceinline__ void multiply_tiles(Tile& product, typename Tile::T& b_sum, bool sums_b, Ring& ring,
                                               int64_t tiles, Fetch&& fetch) {
    int64_t fetched = 0;
    int place = 0;  // place in the ring of the tile that is fetched next
    const auto fetch_next = [&] {
        if (fetched < tiles) fetch(place);
        ++fetched;
        place = place + 1 == kStages ? 0 : place + 1;
        copy_async_commit();  // an empty group keeps the count of groups right
    };
    for (int t = 0; t < kStages - 1; ++t) fetch_next();
    int now = 0;
    for (int64_t t = 0; t < tiles; ++t) {
        copy_async_wait<kStages - 2>();  // this thread's share of tile t has arrived
        __syncthreads();                 // and that of all others; all have multiplied tile t - 1
        fetch_next();                    // tile t + kStages - 1, into the place of tile t - 1
        product.multiply(ring.a, now * Ring::kATile, ring.b, now * Ring::kBTile);
        if (sums_b)
            for (int k = 0; k < Tile::kInner; ++k)
                b_sum += ring.b[now * Ring::kBTile + k * Ring::kBStride + threadIdx.x];
        now = now + 1 == kStages ? 0 : now + 1;
    }
}

// Stores the sums of this part of the inner dimension. The last block of a tile to come here adds all parts in their
// order; returns whether this is it.
template <class Tile, class T>
__device__ __forceinline__ bool add_parts(Tile& product, T& b_sum, bool sums_b, T* partials, int64_t part,
                                          int64_t parts, unsigned* ticket, SharedArray<int, 1>& last) {
    const int thread = static_cast<int>(threadIdx.x);
    T* const mine = partials + part * kPartItems<Tile>;
#pragma unroll
    for (int e = 0; e < Tile::kItems; ++e) mine[e * Tile::kThreads + thread] = product.sum[e];
    if (sums_b) mine[Tile::kRows * Tile::kCols + thread] = b_sum;
    if (!is_last_block(ticket, static_cast<unsigned>(parts), last)) return false;
#pragma unroll
    for (int e = 0; e < Tile::kItems; ++e) product.sum[e] = T(0);
    b_sum = T(0);
    for (int64_t p = 0; p < parts; ++p) {
        const T* const theirs = partials + p * kPartItems<Tile>;
#pragma unroll
        for (int e = 0; e < Tile::kItems; ++e) product.sum[e] += theirs[e * Tile::kThreads + thread];
        if (sums_b) b_sum += theirs[Tile::kRows * Tile::kCols + thread];
    }
    return true;
}

// W neighbouring items of row i, of which `left` exist.
template <int W, class T>
__device__ __forceinline__ Vector<T, W> load_run(const MatrixView<T>& m, int64_t i, int64_t j, int64_t left,
                                                 bool at_once) {
    if (at_once) return *reinterpret_cast<const Vector<T, W>*>(&m(i, j));
    Vector<T, W> run = {};
#pragma unroll
    for (int l = 0; l < W; ++l)
        if (l < left) run[l] = m(i, j + l);
    return run;
}

template <int W, class T>
__device__ __forceinline__ void store_run(const MatrixView<T>& m, int64_t i, int64_t j, int64_t left, bool at_once,
                                          const Vector<T, W>& run) {
    if (at_once) {
        *reinterpret_cast<Vector<T, W>*>(&m(i, j)) = run;
        return;
    }
#pragma unroll
    for (int l = 0; l < W; ++l)
        if (l < left) m(i, j + l) = run[l];
}

template <class Rule, int W, class T>
__device__ __forceinline__ void update_run(const StepNumbers<T>& numbers, const UpdateTarget<T>& t, int64_t i,
                                           int64_t j, int64_t left, const Vector<T, W>& grad) {
    Vector<T, W> param = load_run<W>(t.param, i, j, left, t.vectors), state[2] = {};
#pragma unroll
    for (int s = 0; s < Rule::kStates; ++s) state[s] = load_run<W>(t.state[s], i, j, left, t.vectors);
#pragma unroll
    for (int l = 0; l < W; ++l) update_item<Rule>(numbers, param[l], grad[l], state[0][l], state[1][l]);
    store_run<W>(t.param, i, j, left, t.vectors, param);
#pragma unroll
    for (int s = 0; s < Rule::kStates; ++s) store_run<W>(t.state[s], i, j, left, t.vectors, state[s]);
}

template <class Rule, class T>
__device__ __forceinline__ void update_bias(const StepNumbers<T>& numbers, const UpdateTarget<T>& t, int64_t j,
                                            T grad) {
    T state[2] = {};
    for (int s = 0; s < Rule::kStates; ++s) state[s] = t.bias_state[s][j];
    update_item<Rule>(numbers, t.bias[j], grad, state[0], state[1]);
    for (int s = 0; s < Rule::kStates; ++s) t.bias_state[s][j] = state[s];
}

template <class Tile, class Update, int N>
__global__ void __launch_bounds__(Tile::kThreads)
    gemm_kernel(Guard guard, ProductGroup<typename Tile::T, N> group, Update update) {
    using T = typename Tile::T;
    using Memory = GemmMemory<Tile, Update>;
    if (is_stopped(guard)) return;
    Memory& memory = shared_memory<Memory>();
    const int thread = static_cast<int>(threadIdx.x);
    int member = 0;
    while (member + 1 < group.count && group.product[member + 1].first_block <= blockIdx.x) ++member;
    const Product<T>& g = group.product[member];
    if constexpr (kUpdates<Update>) make_numbers(update.source, memory.update.numbers);

    const int64_t tile_count = g.tiles_down * g.tiles_across, block = blockIdx.x - g.first_block;
    const int64_t tile = block % tile_count, part = block / tile_count;
    const int64_t strip = kTileGroup * g.tiles_across, first_down = tile / strip * kTileGroup;
    const int64_t strip_down = g.tiles_down - first_down < kTileGroup ? g.tiles_down - first_down : kTileGroup;
    const int64_t tile_down = first_down + tile % strip % strip_down, tile_across = tile % strip / strip_down;
    const int64_t row = tile_down * Tile::kRows, col = tile_across * Tile::kCols;
    const int64_t begin = part * g.inner_per_part;
    const int64_t end = begin + g.inner_per_part < g.a.cols ? begin + g.inner_per_part : g.a.cols;
    const int64_t tiles = begin < end ? (end - begin + Tile::kInner - 1) / Tile::kInner : 0;

    TileLoader<T, Tile::kRows, Tile::kInner, Memory::kAStride, Tile::kThreads> load_a(g.a, g.a_walk, row, begin, end);
    TileLoader<T, Tile::kCols, Tile::kInner, Memory::kBStride, Tile::kThreads> load_b(g.b_t, g.b_walk, col, begin, end);
    Tile product;
    // One thread sums each column of b, in the tiles of the first row.
    static_assert(Tile::kCols <= Tile::kThreads);
    const bool sums_b = g.b_sums && tile_down == 0 && thread < Tile::kCols;
    T b_sum = T(0);
    multiply_tiles(product, b_sum, sums_b, memory, tiles, [&](int place) {
        load_a.fetch(memory.a, place * Memory::kATile);
        load_b.fetch(memory.b, place * Memory::kBTile);
    });
    if (g.parts > 1) {
        T* const partials = g.partials + tile * g.parts * kPartItems<Tile>;
        if (!add_parts(product, b_sum, sums_b, partials, part, g.parts, g.tickets + tile, memory.last)) return;
    }

    // The tile goes through shared memory, some rows at a time. Neighbouring threads then store neighbouring items, and
    // the epilogue of an item is in a short loop.
    using Passes = RowPasses<Tile, Update>;
    for (int first = 0; first < Tile::kRows; first += Passes::kRows) {
        __syncthreads();  // the last tile has been multiplied, or the rows of the last pass have been read
        product.for_each_run([&](int i, int j, const Vector<T, Tile::kWidth>& run) {
            if (i >= first && i < first + Passes::kRows)
                store_shared<Tile::kWidth>(memory.a, (i - first) * Passes::kStride + j, run);
        });
        __syncthreads();  // the rows of this pass are written
        // Calls use() with every run after it is stored.
        const auto store_all = [&](auto&& finish, auto&& use) {
            for (int e = thread; e < Passes::kRows * Passes::kRuns; e += Tile::kThreads) {
                const int64_t i = row + first + e / Passes::kRuns, j = col + e % Passes::kRuns * Passes::kWidth;
                const int64_t left = g.c.cols - j;
                if (i >= g.c.rows || left <= 0) continue;
                Vector<T, Passes::kWidth> run = load_shared<Passes::kWidth>(
                    memory.a, e / Passes::kRuns * Passes::kStride + e % Passes::kRuns * Passes::kWidth);
                if (g.epilogue.accumulate) {
                    const auto before = load_run<Passes::kWidth>(g.c, i, j, left, g.vector_stores);
#pragma unroll
                    for (int l = 0; l < Passes::kWidth; ++l) run[l] += before[l];
                }
#pragma unroll
                for (int l = 0; l < Passes::kWidth; ++l)
                    if (l < left) run[l] = finish(run[l], i, j + l);
                store_run<Passes::kWidth>(g.c, i, j, left, g.vector_stores, run);
                use(i, j, left, run);
            }
        };
        // Gradients of weights have no activation.
        if constexpr (kUpdates<Update>) {
            const UpdateTarget<T>& target = update.target[member];
            const StepNumbers<T> made = memory.update.numbers[0], numbers = made.on(target.penalised);
            with_update_rule(update.source.rule, [&](auto rule) {
                with_linear_epilogue(g.epilogue, [&](auto&& finish) {
                    store_all(finish, [&](int64_t i, int64_t j, int64_t left, const auto& run) {
                        update_run<decltype(rule)>(numbers, target, i, j, left, run);
                    });
                });
            });
        } else {
            with_epilogue(g.epilogue, [&](auto&& finish) { store_all(finish, [](auto&&...) {}); });
        }
    }
    if (sums_b && col + thread < g.c.cols) {
        if (g.epilogue.accumulate) b_sum += g.b_sums[col + thread];
        g.b_sums[col + thread] = b_sum;
        if constexpr (kUpdates<Update>) {
            const UpdateTarget<T>& target = update.target[member];
            const StepNumbers<T> made = memory.update.numbers[0], numbers = made.on(target.bias_penalised);
            if (target.bias)
                with_update_rule(update.source.rule,
                                 [&](auto rule) { update_bias<decltype(rule)>(numbers, target, col + thread, b_sum); });
        }
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
