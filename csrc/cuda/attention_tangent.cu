#include "cuda/device/attention.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// A block takes a tile of queries of a head, and kSide columns of the values.
template <class T>
__global__ void __launch_bounds__(kAttentionThreads)
    attention_tangent_kernel(Guard guard, ops::AttentionTangent<T> op) {
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
        const HeadRows<const T> y = head.result_rows(op.y, i0, place.rows);
        T sum_of_scores[Tile::kItems], mean[Tile::kItems];
#pragma unroll
        for (int r = 0; r < Tile::kItems; ++r) {
            const int64_t i = TileSums<T>::row() + r;
            sum_of_scores[r] = i < place.rows ? op.log_sum_exp(head.first_query + i0 + i, head.head) : T(0);
            mean[r] = 0;
        }
        TileSums<T> p, ds, sums;
        sums.clear();
        for (int64_t j0 = 0; j0 < seen; j0 += Tile::kSide) {
            const int64_t n = head.keys_of_tile(j0, seen);
            const HeadRows<const T> keys = head.key_rows(in.k, j0, n);
            p.clear(), ds.clear();
            add_inner_products(p, queries, keys, memory);
            if (op.dq) add_inner_products(ds, head.query_rows(op.dq, i0, place.rows), keys, memory);
            if (op.dk) add_inner_products(ds, queries, head.key_rows(op.dk, j0, n), memory);
            head.finish_scores(p, i0, j0);
            p.for_each([&](int r, int c, T& score) {
                score = probability(score, sum_of_scores[r]);
                ds.item[r][c] *= score * in.scale;
            });
            if (op.changes_scores()) {
#pragma unroll
                for (int r = 0; r < Tile::kItems; ++r) {
                    T change = 0;
#pragma unroll
                    for (int c = 0; c < Tile::kItems; ++c) change += ds.item[r][c];
                    mean[r] += combine_row(change, Plus());
                }
                store_scores<true>(ds, memory);
                add_weighted_rows(sums, head.value_rows(in.v, j0, n), c0, memory);
            }
            if (op.dv) {
                store_scores<true>(p, memory);
                add_weighted_rows(sums, head.value_rows(op.dv, j0, n), c0, memory);
            }
        }
        sums.for_each([&](int r, int c, T& sum) {
            const int64_t i = sums.row() + r, column = c0 + sums.column() + c;
            if (i < y.rows && column < y.width) sum = fma(-mean[r], y.data[i * y.row_stride + column], sum);
        });
        store_rows(sums, head.result_rows(op.out, i0, place.rows), c0);
    }
}

}  // namespace

template <class T>
void launch(const ops::AttentionTangent<T>& op, Stream& stream) {
    const AttentionPattern& pattern = op.in.pattern;
    check_sequences(pattern, number_of(op), stream);
    const dim3 grid(blocks_of_tiles(pattern.queries, AttentionTile<T>::kSide), static_cast<unsigned>(pattern.heads),
                    column_blocks<T>(op.in.value_width()));
    launch_kernel(stream, attention_tangent_kernel<T>, grid, dim3(kAttentionThreads), sizeof(AttentionMemory<T>),
                  stream.guard(), op);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(AttentionTangent)
