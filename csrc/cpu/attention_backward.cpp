#include "cpu/attention.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// Queries and keys whose probabilities are computed anew at once: they and their gradients stay in a second-level cache of
// a mebibyte, beside the panels of the keys.
constexpr int64_t kQueries = 128;
template <class T>
constexpr int64_t kKeys = 1024 / sizeof(T);

template <class T>
struct GradientMemory {
    static constexpr int64_t kStride = kKeys<T> + 16;  // not a whole number of kibibytes
    T *key_columns, *value_columns;                    // panels of a block: keys (width, n) and values (value_width, n)
    T* keys;                                           // rows of a block, times the scale
    T *queries, *d_y;                                  // rows of a block of queries, the former times the scale
    T *scores, *d_scores;  // (kQueries, kKeys<T>): probabilities at last, and the gradients of the scores
    T *d_keys, *d_values;  // sums of a block of keys

    GradientMemory(Pieces& pieces, int64_t width, int64_t value_width) {
        key_columns = pieces.take<T>(width * kKeys<T>), value_columns = pieces.take<T>(value_width * kKeys<T>);
        keys = pieces.take<T>(kKeys<T> * width);
        queries = pieces.take<T>(kQueries * width), d_y = pieces.take<T>(kQueries * value_width);
        scores = pieces.take<T>(kQueries * kStride), d_scores = pieces.take<T>(kQueries * kStride);
        d_keys = pieces.take<T>(kKeys<T> * width), d_values = pieces.take<T>(kKeys<T> * value_width);
    }
};

// The gradients of one sequence and one head of keys.
template <class T>
class UnitGradient {
  public:
    UnitGradient(const ops::AttentionBackward<T>& op, const AttentionUnit& unit, Team& team)
        : op_(op),
          pattern_(op.in.pattern),
          unit_(unit),
          team_(team),
          memory_(take_memory<GradientMemory<T>>(team, op.in.width(), op.in.value_width())) {}

    void compute() {
        // Gradients of queries are written by the first block, even if there are no keys.
        for (int64_t j0 = 0; j0 == 0 || j0 < unit_.keys; j0 += kKeys<T>) {
            const int64_t rest = unit_.keys - j0;
            sum_block(j0, rest < kKeys<T> ? rest : kKeys<T>);
        }
    }

  private:
    static constexpr int64_t kStride = GradientMemory<T>::kStride;
    static constexpr int kCols = TileShape<T>::kCols;
    static_assert(kKeys<T> % kCols == 0);

    // All that the keys j0 .. j0 + n contribute.
    void sum_block(int64_t j0, int64_t n) {
        const ops::AttentionInputs<T>& in = op_.in;
        const int64_t width = in.width(), value_width = in.value_width(), first = unit_.first_key + j0;
        const int64_t col = unit_.key_head * width, value_col = unit_.key_head * value_width;
        if (n > 0) {
            pack_panels(in.k.block(first, col, n, width).transposed(), 0, width, 0, n, memory_.key_columns);
            pack_panels(in.v.block(first, value_col, n, value_width).transposed(), 0, value_width, 0, n,
                        memory_.value_columns);
        }
        copy_scaled(in.k, first, n, col, width, in.scale, memory_.keys, width);
        for (int64_t l = 0; l < n * width; ++l) memory_.d_keys[l] = 0;
        for (int64_t l = 0; l < n * value_width; ++l) memory_.d_values[l] = 0;
        for (int64_t g = 0; g < pattern_.group(); ++g)
            for (int64_t i0 = 0; i0 < unit_.queries; i0 += kQueries) {
                team_.checkpoint();
                const int64_t rest = unit_.queries - i0;
                sum_queries(unit_.key_head * pattern_.group() + g, i0, rest < kQueries ? rest : kQueries, j0, n);
            }
        copy_scaled<T>({memory_.d_keys, n, width, width, 1}, 0, n, 0, width, T(1), op_.d_k.row(first) + col,
                       op_.d_k.row_stride);
        copy_scaled<T>({memory_.d_values, n, value_width, value_width, 1}, 0, n, 0, value_width, T(1),
                       op_.d_v.row(first) + value_col, op_.d_v.row_stride);
    }

    // The part of the queries i0 .. i0 + rows of a head.
    void sum_queries(int64_t head, int64_t i0, int64_t rows, int64_t j0, int64_t n) {
        const ops::AttentionInputs<T>& in = op_.in;
        const int64_t seen = visible_in_block(pattern_, unit_, i0 + rows - 1, j0, n);
        if (j0 > 0 && seen == 0) return;
        const int64_t width = in.width(), value_width = in.value_width(), row = unit_.first_query + i0;
        T *const d_q = op_.d_q.row(row) + head * width, *const p = memory_.scores, *const ds = memory_.d_scores;

        copy_scaled(in.q, row, rows, head * width, width, in.scale, memory_.queries, width);
        copy_scaled(op_.d_y, row, rows, head * value_width, value_width, T(1), memory_.d_y, value_width);
        for_each_part_of_queries(i0, rows, j0, n, [&](int64_t r, int64_t m, int64_t own) {
            multiply_panels<T>(m, own, width, memory_.queries + r * width, width, 1, memory_.key_columns, kCols,
                               width * kCols, p + r * kStride, kStride, false);
            multiply_panels<T>(m, own, value_width, memory_.d_y + r * value_width, value_width, 1,
                               memory_.value_columns, kCols, value_width * kCols, ds + r * kStride, kStride, false);
        });
        for (int64_t r = 0; r < rows; ++r) {
            const int64_t own = visible_in_block(pattern_, unit_, i0 + r, j0, n);
            T *const p_row = p + r * kStride, *const ds_row = ds + r * kStride;
            hide(pattern_, unit_, i0 + r, j0, own, p_row);
            differentiate_row(op_.log_sum_exp(row + r, head),
                              dot(memory_.d_y + r * value_width, op_.y.row(row + r) + head * value_width, value_width),
                              own, p_row, ds_row);
            for (int64_t j = own; j < seen; ++j) p_row[j] = ds_row[j] = 0;
        }
        for_each_part_of_keys(i0, rows, j0, seen, [&](int64_t j, int64_t m, int64_t r) {
            multiply_panels<T>(m, value_width, rows - r, p + r * kStride + j, 1, kStride, memory_.d_y + r * value_width,
                               value_width, kCols, memory_.d_values + j * value_width, value_width, true);
            multiply_panels<T>(m, width, rows - r, ds + r * kStride + j, 1, kStride, memory_.queries + r * width, width,
                               kCols, memory_.d_keys + j * width, width, true);
        });
        for_each_part_of_queries(i0, rows, j0, n, [&](int64_t r, int64_t m, int64_t own) {
            multiply_panels<T>(m, width, own, ds + r * kStride, kStride, 1, memory_.keys, width, kCols,
                               d_q + r * op_.d_q.row_stride, op_.d_q.row_stride, j0 > 0);
        });
    }

    // Whether all of the queries see the same keys of a block.
    bool is_even(int64_t i0, int64_t rows, int64_t j0, int64_t n) const {
        return visible_in_block(pattern_, unit_, i0, j0, n) == visible_in_block(pattern_, unit_, i0 + rows - 1, j0, n);
    }

    // Calls f(r, m, seen) for parts of m queries from i0 + r on, which see the first keys of the block: for all at once
    // or, on the diagonal, for each tile.
    template <class F>
    void for_each_part_of_queries(int64_t i0, int64_t rows, int64_t j0, int64_t n, F&& f) const {
        if (is_even(i0, rows, j0, n)) return f(0, rows, visible_in_block(pattern_, unit_, i0, j0, n));
        const QueryTiles<T> tiles(rows);
        for (int64_t t = 0; t < tiles.count; ++t) {
            const int64_t r = tiles.begin(t), end = tiles.begin(t + 1);
            f(r, end - r, visible_in_block(pattern_, unit_, i0 + end - 1, j0, n));
        }
    }

    // Calls f(j, m, r) for parts of m keys from j0 + j on, which the queries from i0 + r on see.
    template <class F>
    void for_each_part_of_keys(int64_t i0, int64_t rows, int64_t j0, int64_t n, F&& f) const {
        if (is_even(i0, rows, j0, n)) return f(0, n, 0);
        const QueryTiles<T> tiles(n);
        for (int64_t t = 0; t < tiles.count; ++t) {
            const int64_t j = tiles.begin(t), first = j0 + j - (unit_.keys - unit_.queries) - i0;
            f(j, tiles.begin(t + 1) - j, first < 0 ? 0 : first < rows ? first : rows);
        }
    }

    // Of n scores of a query: p = exp(score - sum), and ds = p (d_p - correction), where ds holds d_p before.
    static void differentiate_row(T sum, T correction, int64_t n, T* p, T* ds) {
        using V = Vec<T>;
        // All scores of a query without keys are -infinity.
        const V shift(sum == kNegativeInfinity<T> ? T(0) : sum), mean(correction);
        for_each_vector<T>(0, n, [=](int64_t j, int lanes) {
            const V probability = exp(load_items<T>(p + j, 1, lanes) - shift);
            store_items(probability, p + j, 1, lanes);
            store_items(probability * (load_items<T>(ds + j, 1, lanes) - mean), ds + j, 1, lanes);
        });
    }

    const ops::AttentionBackward<T>& op_;
    const AttentionPattern& pattern_;
    const AttentionUnit unit_;
    Team& team_;
    const GradientMemory<T> memory_;
};

}  // namespace

template <class T>
void run(const ops::AttentionBackward<T>& op, Team& team) {
    const AttentionPattern& pattern = op.in.pattern;
    if (!check_sequences(pattern, number_of(op), team)) return;
    const FlushSubnormals flush;
    for_each_unit(pattern, team, [&](const AttentionUnit& unit) { UnitGradient<T>(op, unit, team).compute(); });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(AttentionBackward)
