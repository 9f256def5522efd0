#include "cpu/attention.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T>
struct TangentMemory {
    T *keys, *d_keys, *values, *d_values;  // panels of a block
    T *queries, *d_queries;                // of a tile, times the scale
    T *scores, *d_scores;                  // of a tile: probabilities at last, and their products with the changes
    T* stage;                              // sums of a tile for a few queries
    T* mean;                               // of each query of all tiles: the mean change of its scores
    int64_t score_stride = 0;

    TangentMemory(Pieces& pieces, int64_t width, int64_t value_width, int64_t most_keys, int64_t tiles, bool direct) {
        constexpr int64_t kRows = TileShape<T>::kRows, kCols = TileShape<T>::kCols;
        score_stride = round_up(most_keys, kCols) + 16;  // not a whole number of kibibytes
        const int64_t key_items = direct ? 0 : width * round_up(most_keys, kCols);
        const int64_t value_items = direct ? 0 : most_keys * round_up(value_width, kCols);
        keys = pieces.take<T>(key_items), d_keys = pieces.take<T>(key_items);
        values = pieces.take<T>(value_items), d_values = pieces.take<T>(value_items);
        queries = pieces.take<T>(kRows * width), d_queries = pieces.take<T>(kRows * width);
        scores = pieces.take<T>(kRows * score_stride), d_scores = pieces.take<T>(kRows * score_stride);
        stage = pieces.take<T>(direct ? kStreamedRows * value_width : 0);
        mean = pieces.take<T>(tiles * kRows);
    }
};

// A run of tiles of queries of one sequence and one head of keys.
template <class T>
class TangentRun {
  public:
    TangentRun(const ops::AttentionTangent<T>& op, const AttentionUnit& unit, int64_t begin, int64_t end, Team& team)
        : op_(op),
          run_(op.in.pattern, unit, begin, end),
          most_keys_(keys_of_block<T>(unit, 2 * (op.in.width() + op.in.value_width()))),
          memory_(take_memory<TangentMemory<T>>(team, op.in.width(), op.in.value_width(), most_keys_, run_.count(),
                                                run_.is_direct())) {}

    void compute(Team& team) {
        const ops::AttentionInputs<T>& in = op_.in;
        run_.for_each_block(most_keys_, [&](int64_t j0, int64_t n, int64_t seen) {
            const auto operand = [&](const MatrixView<const T>& m, int64_t width, T* panels) {
                return KeyOperand<T>(m, run_.unit(), j0, seen, width, panels, run_.is_direct());
            };
            const Operands operands{
                operand(in.k, in.width(), memory_.keys), operand(op_.dk, in.width(), memory_.d_keys),
                operand(in.v, in.value_width(), memory_.values), operand(op_.dv, in.value_width(), memory_.d_values)};
            pack_keys(operands.keys);
            if (op_.dk) pack_keys(operands.d_keys);
            if (op_.changes_scores()) pack_values(operands.values);
            if (op_.dv) pack_values(operands.d_values);
            run_.for_each_tile(j0, n, [&](const QueryTile& tile) {
                team.checkpoint();
                change_tile(tile, j0, n, operands);
            });
        });
    }

  private:
    struct Operands {
        KeyOperand<T> keys, d_keys, values, d_values;
    };

    // Adds what the keys j0 .. j0 + n contribute.
    void change_tile(const QueryTile& tile, int64_t j0, int64_t n, const Operands& operands) const {
        const ops::AttentionInputs<T>& in = op_.in;
        const int64_t width = in.width(), value_width = in.value_width(), stride = memory_.score_stride;
        const int64_t row = run_.unit().first_query + tile.first;
        T* const out = op_.out.row(row) + tile.head * value_width;
        T* const mean = memory_.mean + tile.number * TileShape<T>::kRows;

        copy_scaled(in.q, row, tile.rows, tile.head * width, width, in.scale, memory_.queries, width);
        multiply_keys(tile.rows, tile.seen, memory_.queries, operands.keys, memory_.scores, stride, false);
        if (op_.dq) {
            copy_scaled(op_.dq, row, tile.rows, tile.head * width, width, in.scale, memory_.d_queries, width);
            multiply_keys(tile.rows, tile.seen, memory_.d_queries, operands.keys, memory_.d_scores, stride, false);
        }
        if (op_.dk)
            multiply_keys(tile.rows, tile.seen, memory_.queries, operands.d_keys, memory_.d_scores, stride,
                          static_cast<bool>(op_.dq));
        for (int64_t r = 0; r < tile.rows; ++r) {
            T *const p = memory_.scores + r * stride, *const ds = memory_.d_scores + r * stride;
            const int64_t own = visible_in_block(in.pattern, run_.unit(), tile.first + r, j0, n);
            hide(in.pattern, run_.unit(), tile.first + r, j0, own, p);
            const T change =
                weigh_row(op_.log_sum_exp(row + r, tile.head), own, p, op_.changes_scores() ? ds : nullptr);
            mean[r] = j0 > 0 ? mean[r] + change : change;
            for (int64_t j = own; j < tile.seen; ++j) p[j] = ds[j] = 0;
        }
        if (op_.changes_scores())
            multiply_values(tile.rows, tile.seen, memory_.d_scores, stride, operands.values, out, op_.out.row_stride,
                            j0 > 0, memory_.stage);
        if (op_.dv)
            multiply_values(tile.rows, tile.seen, memory_.scores, stride, operands.d_values, out, op_.out.row_stride,
                            j0 > 0 || op_.changes_scores(), memory_.stage);
        if (!tile.is_last || !op_.changes_scores()) return;
        for (int64_t r = 0; r < tile.rows; ++r) {
            const Vec<T> factor(-mean[r]);
            const T* const y = op_.y.row(row + r) + tile.head * value_width;
            T* const to = out + r * op_.out.row_stride;
            for_each_vector<T>(0, value_width, [=](int64_t l, int lanes) {
                store_items(fma(factor, load_items(y + l, 1, lanes), load_items<T>(to + l, 1, lanes)), to + l, 1,
                            lanes);
            });
        }
    }

    // Of n scores of a query: p = exp(score - sum), and ds = p times the change of the score, which ds holds before;
    // returns the sum of the latter.
    static T weigh_row(T sum, int64_t n, T* p, T* ds) {
        using V = Vec<T>;
        // All scores of a query without keys are -infinity.
        const V shift(sum == kNegativeInfinity<T> ? T(0) : sum), lowest(kNegativeInfinity<T>);
        V total(0);
        for_each_vector<T>(0, n, [&](int64_t j, int lanes) {
            const V probability = exp(load_items<T>(p + j, 1, lanes, lowest) - shift);
            store_items(probability, p + j, 1, lanes);
            if (!ds) return;
            const V change = probability * load_items<T>(ds + j, 1, lanes);
            store_items(change, ds + j, 1, lanes);
            total = total + change;
        });
        return reduce_add(total);
    }

    const ops::AttentionTangent<T>& op_;
    const QueryRun<T> run_;
    int64_t most_keys_;
    const TangentMemory<T> memory_;
};

}  // namespace

template <class T>
void run(const ops::AttentionTangent<T>& op, Team& team) {
    if (!check_sequences(op.in.pattern, number_of(op), team)) return;
    const FlushSubnormals flush;
    for_each_run_of_tiles<T>(op.in.pattern, team, [&](const AttentionUnit& unit, int64_t begin, int64_t end) {
        TangentRun<T>(op, unit, begin, end, team).compute(team);
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(AttentionTangent)
