#include "cpu/attention.h"

#include <cmath>

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// A thread's memory for a run of tiles. The scores of a tile stay in the first-level cache, the panels in the second.
template <class T>
struct AttentionMemory {
    T *keys, *values;     // panels of a block
    T *queries, *scores;  // of a tile
    T* stage;             // sums of a tile for a few queries
    T *maximum, *sum;     // of each query of all tiles: the largest score so far, and the sum of exponentials
    int64_t score_stride;

    AttentionMemory(Pieces& pieces, int64_t width, int64_t value_width, int64_t most_keys, int64_t tiles, bool direct) {
        constexpr int64_t kRows = TileShape<T>::kRows, kCols = TileShape<T>::kCols;
        // Rows a whole number of kibibytes apart would compete for the same sets of the cache.
        score_stride = round_up(most_keys, kCols) + 16;
        keys = pieces.take<T>(direct ? 0 : width * round_up(most_keys, kCols));
        values = pieces.take<T>(direct ? 0 : most_keys * round_up(value_width, kCols));
        queries = pieces.take<T>(kRows * width), scores = pieces.take<T>(kRows * score_stride);
        stage = pieces.take<T>(direct ? kStreamedRows * value_width : 0);
        maximum = pieces.take<T>(tiles * kRows), sum = pieces.take<T>(tiles * kRows);
    }
};

// A run of tiles of queries of one sequence and one head of keys.
template <class T>
class AttentionRun {
  public:
    AttentionRun(const ops::Attention<T>& op, const AttentionUnit& unit, int64_t begin, int64_t end, Team& team)
        : op_(op),
          run_(op.in.pattern, unit, begin, end),
          most_keys_(keys_of_block<T>(unit, op.in.width() + op.in.value_width())),
          memory_(take_memory<AttentionMemory<T>>(team, op.in.width(), op.in.value_width(), most_keys_, run_.count(),
                                                  run_.is_direct())) {}

    void compute(Team& team) {
        const ops::AttentionInputs<T>& in = op_.in;
        run_.for_each_block(most_keys_, [&](int64_t j0, int64_t n, int64_t seen) {
            const KeyOperand<T> keys(in.k, run_.unit(), j0, seen, in.width(), memory_.keys, run_.is_direct());
            const KeyOperand<T> values(in.v, run_.unit(), j0, seen, in.value_width(), memory_.values, run_.is_direct());
            pack_keys(keys), pack_values(values);
            run_.for_each_tile(j0, n, [&](const QueryTile& tile) {
                team.checkpoint();
                attend(tile, j0, n, keys, values);
            });
        });
    }

  private:
    // Adds the keys j0 .. j0 + n to the sums of a tile, and divides these by the sums of the exponentials in the end.
    void attend(const QueryTile& tile, int64_t j0, int64_t n, const KeyOperand<T>& keys,
                const KeyOperand<T>& values) const {
        using V = Vec<T>;
        const ops::AttentionInputs<T>& in = op_.in;
        const int64_t width = in.width(), value_width = in.value_width(), stride = memory_.score_stride;
        const int64_t row = run_.unit().first_query + tile.first, out_row = op_.out.row_stride;
        T *const scores = memory_.scores, *const out = op_.out.row(row) + tile.head * value_width;
        T *const maximum = memory_.maximum + tile.number * TileShape<T>::kRows, *const sum =
                                                                                    memory_.sum +
                                                                                    tile.number * TileShape<T>::kRows;

        copy_scaled(in.q, row, tile.rows, tile.head * width, width, in.scale, memory_.queries, width);
        multiply_keys(tile.rows, tile.seen, memory_.queries, keys, scores, stride, false);
        for (int64_t r = 0; r < tile.rows; ++r) {
            T* const s = scores + r * stride;
            const int64_t own = visible_in_block(in.pattern, run_.unit(), tile.first + r, j0, n);
            hide(in.pattern, run_.unit(), tile.first + r, j0, own, s);
            const T before = j0 > 0 ? maximum[r] : kNegativeInfinity<T>, here = maximum_of_row(s, own);
            maximum[r] = here > before ? here : before;
            const T shift = maximum[r] == kNegativeInfinity<T> ? T(0) : maximum[r];
            const T added = exponentiate_row(s, shift, s, own);
            for (int64_t j = own; j < tile.seen; ++j) s[j] = 0;
            if (j0 == 0) {
                sum[r] = added;
                continue;
            }
            const T kept = std::exp(before - shift);
            sum[r] = sum[r] * kept + added;
            if (kept != 1) scale_row(out + r * out_row, value_width, kept);
        }
        multiply_values(tile.rows, tile.seen, scores, stride, values, out, out_row, j0 > 0, memory_.stage);
        if (!tile.is_last) return;

        constexpr int64_t kBuffer = round_up(TileShape<T>::kRows, V::kSize);
        alignas(64) T logarithm[kBuffer];
        for (int64_t r = 0; r < kBuffer; ++r) logarithm[r] = r < tile.rows && sum[r] != 0 ? sum[r] : T(1);
        for (int64_t r = 0; r < tile.rows; ++r) scale_row(out + r * out_row, value_width, 1 / logarithm[r]);
        log_of_sums(logarithm, static_cast<int>(tile.rows));
        for (int64_t r = 0; r < tile.rows; ++r) op_.log_sum_exp(row + r, tile.head) = maximum[r] + logarithm[r];
    }

    static void scale_row(T* row, int64_t n, T factor) {
        const Vec<T> scale(factor);
        for_each_vector<T>(0, n, [=](int64_t l, int lanes) {
            store_items(scale * load_items<T>(row + l, 1, lanes), row + l, 1, lanes);
        });
    }

    const ops::Attention<T>& op_;
    const QueryRun<T> run_;
    int64_t most_keys_;
    const AttentionMemory<T> memory_;
};

}  // namespace

template <class T>
void run(const ops::Attention<T>& op, Team& team) {
    if (!check_sequences(op.in.pattern, number_of(op), team)) return;
    const FlushSubnormals flush;
    for_each_run_of_tiles<T>(op.in.pattern, team, [&](const AttentionUnit& unit, int64_t begin, int64_t end) {
        AttentionRun<T>(op, unit, begin, end, team).compute(team);
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Attention)
