#include <cstring>

#include "cpu/gemm_plan.h"
#include "cpu/row_indices.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

void run(const ops::TakeRows& op, Team& team) {
    const int64_t n = op.out.rows;
    // The start is read once.
    const RowIndices taken{op.indices, {nullptr, op.start.get()}, n, op.x.rows, number_of(op)};
    if (!check_rows(taken, team)) return;
    // A few long rows are divided by columns, like the inputs of the products that read them.
    const bool by_columns = n <= kFewRows && op.out.cols >= 1024;
    const Range rows = by_columns ? Range{0, n} : team.split(n, 1 + 256 / (op.out.cols + 1));
    const Range cols = by_columns ? team.split(op.out.cols, 64) : Range{0, op.out.cols};
    if (cols.empty()) return;
    const int64_t bytes = cols.end - cols.begin;
    const auto source = [&](int64_t i) { return op.x.row(taken.index_of(i)) + cols.begin; };
    for (int64_t i = rows.begin; i < rows.end; ++i) {
        if (i + kRowsAhead < rows.end) fetch_row(source(i + kRowsAhead), bytes);
        std::memcpy(op.out.row(i) + cols.begin, source(i), bytes);
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
