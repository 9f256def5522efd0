#include "cpu/reduce_span.h"
#include "cpu/rows.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kColumns = 64;  // columns reduced together down the rows

template <class R, class T>
void reduce_all(const ops::Reduce<T>& op, double scale, Team& team) {
    // Chunks are rows, or items if there is a single row.
    const auto& x = op.x;
    const bool one_row = x.rows == 1 || (x.col_stride == 1 && x.row_stride == x.cols);
    const int64_t length = one_row ? x.rows * x.cols : x.rows;
    const Range mine = length < kChunks ? (team.rank() == 0 ? Range{0, kChunks} : Range{0, 0}) : my_chunks(team);
    for (int64_t c = mine.begin; c < mine.end; ++c) {
        const Range chunk = chunk_of(length, static_cast<int>(c));
        typename R::Total total = R::kRest;
        if (one_row) {
            total = reduce_span<R>(x.data + chunk.begin * x.col_stride, x.col_stride, chunk.end - chunk.begin);
        } else {
            for (int64_t i = chunk.begin; i < chunk.end; ++i)
                total = R::merge(total, reduce_span<R>(x.row(i), x.col_stride, x.cols));
        }
        team.chunks()[c] = total;
    }
    team.barrier();  // all chunks are written
    if (team.rank() != 0) return;
    typename R::Total total = R::kRest;
    for (int c = 0; c < kChunks; ++c) total = R::merge(total, static_cast<typename R::Total>(team.chunks()[c]));
    op.out[0] = static_cast<T>(scale * static_cast<double>(total));
}

template <class R, class T>
void reduce_columns(const ops::Reduce<T>& op, double scale, Team& team) {
    const auto& x = op.x;
    const Range mine = team.split(x.cols, kColumns);
    for (int64_t j0 = mine.begin; j0 < mine.end; j0 += kColumns) {
        const int n = static_cast<int>(mine.end - j0 < kColumns ? mine.end - j0 : kColumns);
        typename R::Total total[kColumns];
        for (auto& t : total) t = R::kRest;
        for (int64_t i = 0; i < x.rows; ++i) {
            const T* row = &x(i, j0);
            if (x.col_stride == 1) {
                for (int j = 0; j < n; ++j) total[j] = R::combine(total[j], row[j]);
            } else {
                for (int j = 0; j < n; ++j) total[j] = R::combine(total[j], row[j * x.col_stride]);
            }
        }
        for (int j = 0; j < n; ++j) op.out[j0 + j] = static_cast<T>(scale * static_cast<double>(total[j]));
    }
}

template <class R, class T>
void reduce(const ops::Reduce<T>& op, double scale, Team& team) {
    if (op.axis < 0) return reduce_all<R>(op, scale, team);
    if (op.axis == 0) return reduce_columns<R>(op, scale, team);
    const Range mine = team.split(op.x.rows, 1 + 1024 / (op.x.cols + 1));
    for (int64_t i = mine.begin; i < mine.end; ++i)
        op.out[i] =
            static_cast<T>(scale * static_cast<double>(reduce_span<R>(op.x.row(i), op.x.col_stride, op.x.cols)));
}

}  // namespace

template <class T>
void run(const ops::Reduce<T>& op, Team& team) {
    const auto& x = op.x;
    switch (op.kind) {
        case ops::Reduction::kSum: return reduce<SumOf<T>>(op, 1, team);
        case ops::Reduction::kMean: {
            const int64_t n = op.axis < 0 ? x.rows * x.cols : op.axis == 0 ? x.rows : x.cols;
            return reduce<SumOf<T>>(op, 1.0 / static_cast<double>(n), team);
        }
        case ops::Reduction::kSumSquares: return reduce<SumOfSquares<T>>(op, 1, team);
        case ops::Reduction::kMax: return reduce<MaximumOf<T>>(op, 1, team);
        case ops::Reduction::kMin: return reduce<MinimumOf<T>>(op, 1, team);
    }
}

template <class T>
void run(const ops::Argmax<T>& op, Team& team) {
    const Range mine = team.split(op.x.rows, 1 + 1024 / (op.x.cols + 1));
    for (int64_t i = mine.begin; i < mine.end; ++i) op.out[i] = first_largest(op.x, i);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Reduce)
STEEPEST_INSTANTIATE(Argmax)
