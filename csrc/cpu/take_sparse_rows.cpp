#include <cstring>

#include "common/sparse_rows.h"
#include "cpu/rows.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class Rows>
bool is_bad_row(const Rows& rows, int64_t i) {
    if (rows.has_bad_number(i) || rows.has_bad_bounds(i)) return true;
    bool bad = false;  // a loop without an early exit runs in vectors
    for (int64_t p = rows.begin(i), end = rows.end(i); p < end; ++p) bad |= rows.is_bad_column(p);
    return bad;
}

// Whether all rows are valid. If not, the team fails with the first that is not. Each thread checks a part of them.
template <class Rows>
bool check_rows(const Rows& rows, int64_t n, Team& team) {
    const Range mine = my_chunks(team);
    for (int64_t c = mine.begin; c < mine.end; ++c) {
        const Range chunk = chunk_of(n, static_cast<int>(c));
        int64_t i = chunk.begin;
        while (i < chunk.end && !is_bad_row(rows, i)) ++i;
        team.chunks()[c] = i < chunk.end ? static_cast<double>(i) : -1;
    }
    team.barrier();  // all parts are checked
    for (int c = 0; c < kChunks; ++c) {
        if (team.chunks()[c] < 0) continue;
        team.fail(rows.failure_of(static_cast<int64_t>(team.chunks()[c])));
        return false;
    }
    return true;
}

}  // namespace

template <class T>
void run(const ops::TakeSparseRows<T>& op, Team& team) {
    const int64_t start = op.start.get(), n = op.out.rows;
    if (start < 0 || start > op.rows.size - n) return team.fail(start_failure(number_of(op), start, n, op.rows.size));
    with_sparse_rows(op, start, [&](const auto& rows) {
        if (!check_rows(rows, n, team)) return;
        const Range mine = team.split(n, 1);
        for (int64_t i = mine.begin; i < mine.end; ++i) {
            if (op.out.col_stride == 1)
                std::memset(op.out.row(i), 0, static_cast<size_t>(op.out.cols) * sizeof(T));
            else
                for (int64_t j = 0; j < op.out.cols; ++j) op.out(i, j) = T(0);
            for (int64_t p = rows.begin(i), end = rows.end(i); p < end; ++p) op.out(i, rows.indices[p]) += rows.data[p];
        }
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(TakeSparseRows)
