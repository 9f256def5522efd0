#include <cstring>

#include "cpu/gemm_plan.h"
#include "cpu/row_indices.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// Copies source(i) to target(i), rows of so many bytes, for the rows that this thread moves.
template <class Source, class Target>
void move_rows(int64_t n, int64_t bytes, Team& team, const Source& source, const Target& target) {
    // A few long rows are divided by columns, like the inputs of the products that read them.
    const bool by_columns = n <= kFewRows && bytes >= 1024;
    const Range rows = by_columns ? Range{0, n} : team.split(n, 1 + 256 / (bytes + 1));
    const Range cols = by_columns ? team.split(bytes, 64) : Range{0, bytes};
    if (cols.empty()) return;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
        if (i + kRowsAhead < rows.end) fetch_row(source(i + kRowsAhead) + cols.begin, cols.end - cols.begin);
        std::memcpy(target(i) + cols.begin, source(i) + cols.begin, cols.end - cols.begin);
    }
}

}  // namespace

void run(const ops::TakeRows& op, Team& team) {
    // The start is read once.
    const RowIndices taken{op.indices, {nullptr, op.start.get()}, op.out.rows, op.x.rows, number_of(op)};
    if (!check_rows(taken, team)) return;
    move_rows(
        op.out.rows, op.out.cols, team, [&](int64_t i) { return op.x.row(taken.index_of(i)); },
        [&](int64_t i) { return op.out.row(i); });
}

void run(const ops::PutRows& op, Team& team) {
    const RowIndices put{op.indices, {nullptr, op.start.get()}, op.x.rows, op.out.rows, number_of(op)};
    if (!check_rows(put, team)) return;
    move_rows(
        op.x.rows, op.x.cols, team, [&](int64_t i) { return op.x.row(i); },
        [&](int64_t i) { return op.out.row(put.index_of(i)); });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
