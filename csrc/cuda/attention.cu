#include "cuda/device/attention.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// A block takes a tile of queries of a head, and kSide columns of the values.
template <class T>
__global__ void __launch_bounds__(kAttentionThreads) attention_kernel(Guard guard, ops::Attention<T> op) {
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
        TileSums<T> scores, sums;
        T maximum[Tile::kItems], total[Tile::kItems];
        sums.clear();
#pragma unroll
        for (int r = 0; r < Tile::kItems; ++r) maximum[r] = kLowest<T>, total[r] = 0;
        for (int64_t j0 = 0; j0 < seen; j0 += Tile::kSide) {
            const int64_t n = head.keys_of_tile(j0, seen);
            scores.clear();
            add_inner_products(scores, queries, head.key_rows(in.k, j0, n), memory);
            head.finish_scores(scores, i0, j0);
#pragma unroll
            for (int r = 0; r < Tile::kItems; ++r) {
                T here = scores.item[r][0], added = 0;
#pragma unroll
                for (int c = 1; c < Tile::kItems; ++c) here = Larger()(here, scores.item[r][c]);
                here = combine_row(here, Larger());
                const T before = maximum[r];
                maximum[r] = here > before ? here : before;
                const T shift = maximum[r] == kLowest<T> ? T(0) : maximum[r], kept = exp(before - shift);
#pragma unroll
                for (int c = 0; c < Tile::kItems; ++c) {
                    scores.item[r][c] = exp(scores.item[r][c] - shift), added += scores.item[r][c];
                    sums.item[r][c] *= kept;
                }
                total[r] = fma(total[r], kept, combine_row(added, Plus()));
            }
            store_scores<true>(scores, memory);
            add_weighted_rows(sums, head.value_rows(in.v, j0, n), c0, memory);
        }
#pragma unroll
        for (int r = 0; r < Tile::kItems; ++r) {
            const T divisor = total[r] == 0 ? T(1) : total[r];
            const int64_t i = sums.row() + r;
#pragma unroll
            for (int c = 0; c < Tile::kItems; ++c) sums.item[r][c] /= divisor;
            if (blockIdx.z == 0 && sums.column() == 0 && i < place.rows)
                op.log_sum_exp(head.first_query + i0 + i, head.head) = maximum[r] + std::log(divisor);
        }
        store_rows(sums, head.result_rows(op.out, i0, place.rows), c0);
    }
}

}  // namespace

template <class T>
void launch(const ops::Attention<T>& op, Stream& stream) {
    const AttentionPattern& pattern = op.in.pattern;
    check_sequences(pattern, number_of(op), stream);
    const dim3 grid(blocks_of_tiles(pattern.queries, AttentionTile<T>::kSide), static_cast<unsigned>(pattern.heads),
                    column_blocks<T>(op.in.value_width()));
    launch_kernel(stream, attention_kernel<T>, grid, dim3(kAttentionThreads), sizeof(AttentionMemory<T>),
                  stream.guard(), op);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Attention)
