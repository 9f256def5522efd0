// What the kernels of attention share. A block takes a tile of queries (or keys) of one sequence and head, and walks
// through tiles of its keys (or queries). Products of two tiles are summed in registers from chunks in shared memory.
#pragma once

#include "common/attention.h"
#include "cuda/device/guard.cuh"
#include "cuda/device/softmax_row.cuh"
#include "cuda/launch.h"
#include "ops/all.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kAttentionThreads = 256;

template <class T>
struct AttentionTile {
    static constexpr int kSide = 256 / sizeof(T);           // queries and keys of a tile
    static constexpr int kLanes = 16;                       // threads along each side
    static constexpr int kItems = kSide / kLanes;           // rows and columns of a thread: 16 bytes
    static constexpr int kDepth = 32;                       // products summed from one chunk
    static constexpr int kPitch = kSide + kVectorWidth<T>;  // items from one row in shared memory to the next
};

template <class T>
struct AttentionMemory {
    using Tile = AttentionTile<T>;
    SharedArray<T, Tile::kDepth * Tile::kPitch> left, right;  // chunks of the operands, with products outermost
    SharedArray<T, Tile::kSide * Tile::kPitch> scores;        // a tile as the left operand of a product
};

// Sums of a thread: rows row() + r and columns column() + c of a tile.
template <class T>
struct TileSums {
    static constexpr int kItems = AttentionTile<T>::kItems;
    T item[kItems][kItems];

    __device__ __forceinline__ void clear() {
        for_each([](int, int, T& value) { value = 0; });
    }
    template <class F>
    __device__ __forceinline__ void for_each(F&& f) {
#pragma unroll
        for (int r = 0; r < kItems; ++r)
#pragma unroll
            for (int c = 0; c < kItems; ++c) f(r, c, item[r][c]);
    }
    static __device__ __forceinline__ int row() { return threadIdx.x / AttentionTile<T>::kLanes * kItems; }
    static __device__ __forceinline__ int column() { return threadIdx.x % AttentionTile<T>::kLanes * kItems; }
};

// Up to kSide rows of one head.
template <class T>
struct HeadRows {
    T* data;
    int64_t row_stride;
    int64_t rows, width;

    // Rows first .. first + rows of a matrix whose heads are `width` columns wide; of an absent one, no rows.
    __device__ HeadRows(const MatrixView<T>& m, int64_t first, int64_t n, int64_t head, int64_t columns)
        : data(m ? m.row(first) + head * columns : nullptr),
          row_stride(m.row_stride),
          rows(m ? n : 0),
          width(columns) {}
};

// Columns p0 .. p0 + kDepth of some rows, transposed, with zeros beside them.
template <class T, int N>
__device__ __forceinline__ void load_columns(SharedArray<T, N>& to, const HeadRows<const T>& from, int64_t p0) {
    using Tile = AttentionTile<T>;
    for (int at = threadIdx.x; at < Tile::kSide * Tile::kDepth; at += kAttentionThreads) {
        const int p = at % Tile::kDepth, i = at / Tile::kDepth;
        const bool inside = i < from.rows && p0 + p < from.width;
        to[p * Tile::kPitch + i] = inside ? from.data[i * from.row_stride + p0 + p] : T(0);
    }
}

// Columns c0 .. c0 + kSide of rows r0 .. r0 + kDepth, with zeros beside them.
template <class T, int N>
__device__ __forceinline__ void load_rows(SharedArray<T, N>& to, const HeadRows<const T>& from, int64_t r0,
                                          int64_t c0) {
    using Tile = AttentionTile<T>;
    for (int at = threadIdx.x; at < Tile::kSide * Tile::kDepth; at += kAttentionThreads) {
        const int c = at % Tile::kSide, r = at / Tile::kSide;
        const bool inside = r0 + r < from.rows && c0 + c < from.width;
        to[r * Tile::kPitch + c] = inside ? from.data[(r0 + r) * from.row_stride + c0 + c] : T(0);
    }
}

// sums += left^T right over kDepth products, from product p0 of `left` on.
template <class T, int N, int M>
__device__ __forceinline__ void add_products(TileSums<T>& sums, const SharedArray<T, N>& left, int p0,
                                             const SharedArray<T, M>& right) {
    using Tile = AttentionTile<T>;
#pragma unroll 8
    for (int p = 0; p < Tile::kDepth; ++p) {
        const auto a = load_shared<Tile::kItems>(left, (p0 + p) * Tile::kPitch + sums.row());
        const auto b = load_shared<Tile::kItems>(right, p * Tile::kPitch + sums.column());
        sums.for_each([&](int r, int c, T& sum) { sum = fma(a[r], b[c], sum); });
    }
}

// sums += a b^T, the inner products of rows. All threads of the block call it; barriers surround the chunks.
template <class T>
__device__ __forceinline__ void add_inner_products(TileSums<T>& sums, const HeadRows<const T>& a,
                                                   const HeadRows<const T>& b, AttentionMemory<T>& memory) {
    for (int64_t p0 = 0; p0 < a.width; p0 += AttentionTile<T>::kDepth) {
        __syncthreads();  // the chunks before are read
        load_columns(memory.left, a, p0), load_columns(memory.right, b, p0);
        __syncthreads();  // the chunks are loaded
        add_products(sums, memory.left, 0, memory.right);
    }
}

// sums += scores^T b, for columns c0 .. c0 + kSide of b, whose rows belong to those of `scores`.
template <class T>
__device__ __forceinline__ void add_weighted_rows(TileSums<T>& sums, const HeadRows<const T>& b, int64_t c0,
                                                  AttentionMemory<T>& memory) {
    using Tile = AttentionTile<T>;
    for (int r0 = 0; r0 < Tile::kSide; r0 += Tile::kDepth) {
        __syncthreads();  // scores are written, and the chunk before is read
        load_rows(memory.right, b, r0, c0);
        __syncthreads();  // the chunk is loaded
        add_products(sums, memory.scores, r0, memory.right);
    }
}

// Writes a tile to shared memory: row by row or, with kTransposed, column by column.
template <bool kTransposed, class T>
__device__ __forceinline__ void store_scores(TileSums<T>& tile, AttentionMemory<T>& memory) {
    using Tile = AttentionTile<T>;
    __syncthreads();  // what was there is read
#pragma unroll
    for (int a = 0; a < Tile::kItems; ++a) {
        Vector<T, Tile::kItems> items;
#pragma unroll
        for (int b = 0; b < Tile::kItems; ++b) items[b] = kTransposed ? tile.item[b][a] : tile.item[a][b];
        const int row = (kTransposed ? tile.column() : tile.row()) + a;
        store_shared(memory.scores, row * Tile::kPitch + (kTransposed ? tile.row() : tile.column()), items);
    }
}

// Writes columns c0 .. c0 + kSide of `to`.
template <class T>
__device__ __forceinline__ void store_rows(TileSums<T>& sums, const HeadRows<T>& to, int64_t c0) {
    sums.for_each([&](int r, int c, T& sum) {
        const int64_t i = sums.row() + r, column = c0 + sums.column() + c;
        if (i < to.rows && column < to.width) to.data[i * to.row_stride + column] = sum;
    });
}

// A tile of one sequence: its rows first .. first + rows of the sequence's `length`.
struct TilePlace {
    int64_t sequence, first, rows;

    // Tile number `slot` of all sequences; false if there are fewer.
    __device__ __forceinline__ bool find(const Spans& spans, int64_t slot, int64_t side) {
        const auto take = [&](int64_t tile) {
            const int64_t rest = spans.length(sequence) - tile * side;
            first = tile * side, rows = rest < side ? rest : side;
            return true;
        };
        const auto tiles_of = [&](int64_t s) { return (spans.length(s) + side - 1) / side; };
        if (!spans.table) {
            const int64_t tiles = spans.count > 0 ? tiles_of(0) : 0;
            if (slot >= spans.count * tiles) return false;
            sequence = slot / tiles;
            return take(slot % tiles);
        }
        for (sequence = 0; sequence < spans.count; ++sequence) {
            const int64_t tiles = tiles_of(sequence);
            if (slot < tiles) return take(slot);
            slot -= tiles;
        }
        return false;
    }
};

// At least as many blocks as there are tiles in sequences that do not share rows.
inline unsigned blocks_of_tiles(const Spans& spans, int64_t side) {
    if (spans.count == 0) return 0;
    return static_cast<unsigned>(spans.table ? spans.rows / side + spans.count
                                             : spans.count * blocks_for(spans.rows / spans.count, side));
}

// One head of one sequence.
template <class T>
struct AttentionHead {
    const ops::AttentionInputs<T>& in;
    int64_t first_query, queries, first_key, keys, head, key_head;

    __device__ AttentionHead(const ops::AttentionInputs<T>& inputs, int64_t sequence, int64_t h)
        : in(inputs),
          first_query(inputs.pattern.queries.first(sequence)),
          queries(inputs.pattern.queries.length(sequence)),
          first_key(inputs.pattern.keys.first(sequence)),
          keys(inputs.pattern.keys.length(sequence)),
          head(h),
          key_head(h / inputs.pattern.group()) {}

    // Rows i0 .. i0 + n of a matrix like the queries, and like the results.
    template <class U>
    __device__ HeadRows<U> query_rows(const MatrixView<U>& m, int64_t i0, int64_t n) const {
        return {m, first_query + i0, n, head, in.width()};
    }
    template <class U>
    __device__ HeadRows<U> result_rows(const MatrixView<U>& m, int64_t i0, int64_t n) const {
        return {m, first_query + i0, n, head, in.value_width()};
    }
    // Rows j0 .. j0 + n of a matrix like the keys, and like the values.
    template <class U>
    __device__ HeadRows<U> key_rows(const MatrixView<U>& m, int64_t j0, int64_t n) const {
        return {m, first_key + j0, n, key_head, in.width()};
    }
    template <class U>
    __device__ HeadRows<U> value_rows(const MatrixView<U>& m, int64_t j0, int64_t n) const {
        return {m, first_key + j0, n, key_head, in.value_width()};
    }

    // The keys that some of the queries up to i may attend to.
    __device__ int64_t visible(int64_t i) const { return in.pattern.visible(i, queries, keys); }

    // The keys of a tile from j0 on, out of all that are `visible`.
    static __device__ int64_t keys_of_tile(int64_t j0, int64_t visible) {
        return visible - j0 < AttentionTile<T>::kSide ? visible - j0 : AttentionTile<T>::kSide;
    }

    // Inner products become scores: times the scale, and -infinity for what no query of the tile may attend to.
    __device__ __forceinline__ void finish_scores(TileSums<T>& scores, int64_t i0, int64_t j0) const {
        scores.for_each([&](int r, int c, T& score) {
            const int64_t i = i0 + scores.row() + r, j = j0 + scores.column() + c;
            const bool allowed = i < queries && j < visible(i) && in.pattern.passes_masks(first_query, i, j);
            score = allowed ? in.scale * score : kLowest<T>;
        });
    }
};

// exp(score - sum), where the scores of a query without keys and their sum are -infinity.
template <class T>
__device__ __forceinline__ T probability(T score, T sum) {
    return exp(score - (sum == kLowest<T> ? T(0) : sum));
}

// Combines the values of the threads that share the rows of a tile.
template <class T, class Combine>
__device__ __forceinline__ T combine_row(T value, Combine combine) {
    return combine_lanes<AttentionTile<T>::kLanes>(value, combine);
}

// The logarithm of exponentials of each row of a thread, and the sum of d_y y over its columns.
template <class T>
struct QuerySums {
    T log_sum_exp[AttentionTile<T>::kItems], correction[AttentionTile<T>::kItems];

    __device__ __forceinline__ void load(const AttentionHead<T>& head, const MatrixView<const T>& sums,
                                         const HeadRows<const T>& d_y, const HeadRows<const T>& y, int64_t i0) {
#pragma unroll
        for (int r = 0; r < AttentionTile<T>::kItems; ++r) {
            const int64_t i = TileSums<T>::row() + r;
            log_sum_exp[r] = i < y.rows ? sums(head.first_query + i0 + i, head.head) : T(0);
            T sum = 0;
            if (i < y.rows)
                for (int64_t c = threadIdx.x % AttentionTile<T>::kLanes; c < y.width; c += AttentionTile<T>::kLanes)
                    sum = fma(d_y.data[i * d_y.row_stride + c], y.data[i * y.row_stride + c], sum);
            correction[r] = combine_row(sum, Plus());
        }
    }
};

// Scores become probabilities, and inner products of d_y with values the gradients of scores.
template <class T>
__device__ __forceinline__ void differentiate(TileSums<T>& p, TileSums<T>& ds, const QuerySums<T>& sums) {
    p.for_each([&](int r, int c, T& score) {
        score = probability(score, sums.log_sum_exp[r]);
        ds.item[r][c] = score * (ds.item[r][c] - sums.correction[r]);
    });
}

struct SequenceCheckMemory {
    SharedArray<int64_t, kAttentionThreads / kWarp> sequence;
};

__global__ void __launch_bounds__(kAttentionThreads)
    check_sequences_kernel(Guard guard, AttentionPattern pattern, OperationNumber operation) {
    if (is_stopped(guard)) return;
    int64_t bad = pattern.queries.count;
    for (int64_t s = threadIdx.x; s < pattern.queries.count && bad == pattern.queries.count; s += kAttentionThreads)
        if (pattern.is_bad(s)) bad = s;
    bad = combine_block<kAttentionThreads>(bad, shared_memory<SequenceCheckMemory>().sequence, Smaller());
    if (threadIdx.x == 0 && bad < pattern.queries.count) report_failure(guard, pattern.failure_of(bad, operation));
}

// A kernel of its own checks all sequences before those that use them.
inline void check_sequences(const AttentionPattern& pattern, OperationNumber operation, Stream& stream) {
    if (!pattern.queries.table && !pattern.keys.table) return;
    launch_kernel(stream, check_sequences_kernel, dim3(1), dim3(kAttentionThreads), sizeof(SequenceCheckMemory),
                  stream.guard(), pattern, operation);
}

// Blocks of kSide columns that cover `width`.
template <class T>
unsigned column_blocks(int64_t width) {
    return static_cast<unsigned>(blocks_for(width, AttentionTile<T>::kSide));
}

}  // namespace
}  // namespace STEEPEST_TARGET
}  // namespace steepest
