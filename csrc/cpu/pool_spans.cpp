#include <type_traits>

#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/spans.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kBlock = 64;  // columns that are pooled together

// Calls f(sequence, first column, number of columns) for this thread's blocks. Threads divide the sequences, or the
// columns if there are few sequences.
template <class F>
STEEPEST_HD void for_my_blocks(const Spans& spans, int64_t cols, const Team& team, F&& f) {
    const bool by_sequences = spans.count >= 4 * team.size();
    const Range sequences = by_sequences ? team.split(spans.count, 1) : Range{0, spans.count};
    const Range columns = by_sequences ? Range{0, cols} : team.split(cols, kBlock / 4);
    for (int64_t i = sequences.begin; i < sequences.end; ++i)
        for (int64_t j = columns.begin; j < columns.end; j += kBlock)
            f(i, j, columns.end - j < kBlock ? columns.end - j : kBlock);
}

// The mean of the rows, whose sum is accumulated in float64 in their order.
template <class T>
void average(const MatrixView<const T>& x, T* out) {
    double sum[kBlock] = {};
    for (int64_t r = 0; r < x.rows; ++r)
        for_each_vector<T>(0, x.cols,
                           [&](int64_t j, int lanes) { add_wide(load_items(&x(r, j), x.col_stride, lanes), sum + j); });
    for (int64_t j = 0; j < x.cols; ++j) out[j] = static_cast<T>(sum[j] / static_cast<double>(x.rows));
}

// Whether an item is larger than the largest so far, of which the first NaN stays.
template <class T>
STEEPEST_HD bool is_larger(T item, T largest) {
    return !(item <= largest) & (largest == largest);
}

// The largest item of each column, and its row: the first of several, or the first NaN. Within a piece of the rows, a
// row is numbered by an integer of the width of an item, so that one vector instruction compares and one selects.
template <class T>
void find_largest(const MatrixView<const T>& x, T* out, int64_t* row) {
    using Place = std::conditional_t<sizeof(T) == sizeof(int32_t), int32_t, int64_t>;
    constexpr int64_t kPiece = 1 << 20;
    T largest[kBlock], copy[kBlock];
    Place place[kBlock];
    for (int64_t begin = 0; begin < x.rows; begin += kPiece) {
        const Place rows = static_cast<Place>(x.rows - begin < kPiece ? x.rows - begin : kPiece);
        for (int64_t j = 0; j < x.cols; ++j) largest[j] = x(begin, j), place[j] = 0;
        for (Place r = 1; r < rows; ++r) {
            const T* const items = contiguous_row(x, begin + r, copy);
            for (int64_t j = 0; j < x.cols; ++j) {
                const bool found = is_larger(items[j], largest[j]);
                largest[j] = found ? items[j] : largest[j], place[j] = found ? r : place[j];
            }
        }
        for (int64_t j = 0; j < x.cols; ++j)
            if (begin == 0 || is_larger(largest[j], out[j])) out[j] = largest[j], row[j] = begin + place[j];
    }
}

}  // namespace

template <class T>
void run(const ops::PoolSpans<T>& op, Team& team) {
    if (!check_spans(op.spans, number_of(op), team)) return;
    for_my_blocks(op.spans, op.x.cols, team, [&](int64_t i, int64_t begin, int64_t n) {
        const int64_t first = op.spans.first(i), length = op.spans.length(i);
        T pooled[kBlock];
        int64_t row[kBlock];
        if (length == 0) {
            for (int64_t j = 0; j < n; ++j) op.out(i, begin + j) = T(0);
            if (op.index)
                for (int64_t j = 0; j < n; ++j) op.index(i, begin + j) = -1;
            return;
        }
        const MatrixView<const T> x = op.x.block(first, begin, length, n);
        switch (op.kind) {
            case ops::SpanPooling::kMean: average(x, pooled); break;
            case ops::SpanPooling::kMax: find_largest(x, pooled, row); break;
            case ops::SpanPooling::kLast:
                for (int64_t j = 0; j < n; ++j) pooled[j] = x(length - 1, j);
        }
        for (int64_t j = 0; j < n; ++j) op.out(i, begin + j) = pooled[j];
        if (op.index)
            for (int64_t j = 0; j < n; ++j) op.index(i, begin + j) = first + row[j];
    });
}

template <class T>
void run(const ops::PoolSpansBackward<T>& op, Team& team) {
    if (!check_spans(op.spans, number_of(op), team)) return;
    for_my_blocks(op.spans, op.d_x.cols, team, [&](int64_t i, int64_t begin, int64_t n) {
        const int64_t first = op.spans.first(i), length = op.spans.length(i), stride = op.d_x.col_stride;
        T share[kBlock] = {};
        if (op.kind == ops::SpanPooling::kMean)
            for (int64_t j = 0; j < n; ++j) share[j] = op.d_y(i, begin + j) / static_cast<T>(length);
        for (int64_t r = 0; r < length; ++r) {
            T* const d_x = &op.d_x(first + r, begin);
            for_each_vector<T>(0, n, [&](int64_t j, int lanes) {
                store_items(load_items(share + j, 1, lanes), d_x + j * stride, stride, lanes);
            });
        }
        if (op.kind == ops::SpanPooling::kMean || length == 0) return;
        for (int64_t j = begin; j < begin + n; ++j) {
            const int64_t row = op.kind == ops::SpanPooling::kLast ? first + length - 1 : op.index(i, j);
            if (row >= first && row < first + length) op.d_x(row, j) = op.d_y(i, j);
        }
    });
}

template <class T>
void run(const ops::PoolSpansGather<T>& op, Team& team) {
    const Range mine = team.split(op.out.rows, 1 + 1024 / (op.out.cols + 1));
    for (int64_t i = mine.begin; i < mine.end; ++i)
        for (int64_t j = 0; j < op.out.cols; ++j) op.out(i, j) = op.item(i, j);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(PoolSpans)
STEEPEST_INSTANTIATE(PoolSpansBackward)
STEEPEST_INSTANTIATE(PoolSpansGather)
