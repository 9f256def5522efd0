#include "cuda/device/attention.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// A block sums the gradients of a tile of queries of a head over all keys, for kSide of its columns.
template <class T>
__global__ void __launch_bounds__(kAttentionThreads) query_gradient_kernel(Guard guard, ops::AttentionBackward<T> op) {
    using Tile = AttentionTile<T>;
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<AttentionMemory<T>>();
    const ops::AttentionInputs<T>& in = op.in;
    const int64_t c0 = int64_t{blockIdx.z} * Tile::kSide;
    TilePlace place;
    for (int64_t slot = blockIdx.x; place.find(in.pattern.queries, slot, Tile::kSide); slot += gridDim.x) {
        const AttentionHead<T> head(in, place.sequence, blockIdx.y);
        const int64_t i0 = place.first, seen = head.visible(i0 + place.rows - 1);
        const HeadRows<const T> queries = head.query_rows(in.q, i0, place.rows);
        const HeadRows<const T> d_y = head.result_rows(op.d_y, i0, place.rows);
        QuerySums<T> known;
        known.load(head, op.log_sum_exp, d_y, head.result_rows(op.y, i0, place.rows), i0);
        TileSums<T> p, ds, sums;
        sums.clear();
        for (int64_t j0 = 0; j0 < seen; j0 += Tile::kSide) {
            const int64_t n = head.keys_of_tile(j0, seen);
            const HeadRows<const T> keys = head.key_rows(in.k, j0, n);
            p.clear(), ds.clear();
            add_inner_products(p, queries, keys, memory);
            add_inner_products(ds, d_y, head.value_rows(in.v, j0, n), memory);
            head.finish_scores(p, i0, j0);
            differentiate(p, ds, known);
            store_scores<true>(ds, memory);
            add_weighted_rows(sums, keys, c0, memory);
        }
        sums.for_each([&](int, int, T& sum) { sum *= in.scale; });
        store_rows(sums, head.query_rows(op.d_q, i0, place.rows), c0);
    }
}

// A block sums the gradients of a tile of keys and values of a head over all queries of the heads that use it, in order,
// for kSide of their columns.
template <class T>
__global__ void __launch_bounds__(kAttentionThreads) key_gradient_kernel(Guard guard, ops::AttentionBackward<T> op) {
    using Tile = AttentionTile<T>;
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<AttentionMemory<T>>();
    const ops::AttentionInputs<T>& in = op.in;
    const int64_t c0 = int64_t{blockIdx.z} * Tile::kSide, group = in.pattern.group();
    TilePlace place;
    for (int64_t slot = blockIdx.x; place.find(in.pattern.keys, slot, Tile::kSide); slot += gridDim.x) {
        const int64_t j0 = place.first;
        TileSums<T> p, ds, d_k, d_v;
        d_k.clear(), d_v.clear();
        for (int64_t h = blockIdx.y * group; h < (blockIdx.y + 1) * group; ++h) {
            const AttentionHead<T> head(in, place.sequence, h);
            for (int64_t i0 = 0; i0 < head.queries; i0 += Tile::kSide) {
                const int64_t rest = head.queries - i0, rows = rest < Tile::kSide ? rest : Tile::kSide;
                const int64_t seen = head.visible(i0 + rows - 1);
                if (seen <= j0) continue;
                const int64_t n = head.keys_of_tile(j0, seen);
                const HeadRows<const T> queries = head.query_rows(in.q, i0, rows);
                const HeadRows<const T> d_y = head.result_rows(op.d_y, i0, rows);
                QuerySums<T> known;
                known.load(head, op.log_sum_exp, d_y, head.result_rows(op.y, i0, rows), i0);
                p.clear(), ds.clear();
                add_inner_products(p, queries, head.key_rows(in.k, j0, n), memory);
                add_inner_products(ds, d_y, head.value_rows(in.v, j0, n), memory);
                head.finish_scores(p, i0, j0);
                differentiate(p, ds, known);
                store_scores<false>(p, memory);
                add_weighted_rows(d_v, d_y, c0, memory);
                store_scores<false>(ds, memory);
                add_weighted_rows(d_k, queries, c0, memory);
            }
        }
        const AttentionHead<T> head(in, place.sequence, blockIdx.y * group);
        d_k.for_each([&](int, int, T& sum) { sum *= in.scale; });
        store_rows(d_k, head.key_rows(op.d_k, j0, place.rows), c0);
        store_rows(d_v, head.value_rows(op.d_v, j0, place.rows), c0);
    }
}

}  // namespace

template <class T>
void launch(const ops::AttentionBackward<T>& op, Stream& stream) {
    const AttentionPattern& pattern = op.in.pattern;
    check_sequences(pattern, number_of(op), stream);
    const unsigned columns = column_blocks<T>(op.in.width()), value_columns = column_blocks<T>(op.in.value_width());
    const dim3 queries(blocks_of_tiles(pattern.queries, AttentionTile<T>::kSide), static_cast<unsigned>(pattern.heads),
                       columns);
    const dim3 keys(blocks_of_tiles(pattern.keys, AttentionTile<T>::kSide), static_cast<unsigned>(pattern.key_heads),
                    columns > value_columns ? columns : value_columns);
    launch_kernel(stream, query_gradient_kernel<T>, queries, dim3(kAttentionThreads), sizeof(AttentionMemory<T>),
                  stream.guard(), op);
    launch_kernel(stream, key_gradient_kernel<T>, keys, dim3(kAttentionThreads), sizeof(AttentionMemory<T>),
                  stream.guard(), op);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(AttentionBackward)
