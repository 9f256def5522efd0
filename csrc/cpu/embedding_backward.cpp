#include "cpu/row_indices.h"
#include "cpu/rows.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::EmbeddingBackward<T>& op, Team& team) {
    const RowIndices ids{op.ids, {nullptr, 0}, op.d_out.rows, op.out.rows, number_of(op)};
    if (!check_rows(ids, team)) return;
    if (!op.accumulate) {
        const Range cleared = team.split(op.out.rows, 1 + 4096 / (op.out.cols + 1));
        const int64_t step = op.out.col_stride;
        for (int64_t r = cleared.begin; r < cleared.end; ++r)
            for_each_vector<T>(0, op.out.cols, [&](int64_t j, int lanes) {
                store_items(Vec<T>(0), op.out.row(r) + j * step, step, lanes);
            });
        team.barrier();  // the table is cleared
    }
    // Threads take columns, of which all ids need the same number of additions. If there are too few columns, they take
    // rows of the table. No two threads write to the same item.
    constexpr int64_t kLine = 64 / sizeof(T);
    const bool by_columns = op.out.cols >= kLine * team.size();
    const Range columns = by_columns ? team.split(op.out.cols, kLine) : Range{0, op.out.cols};
    const Range rows = by_columns ? Range{0, op.out.rows} : team.split(op.out.rows, 1);
    if (columns.empty() || rows.empty()) return;
    const int64_t n = columns.end - columns.begin, stride = op.out.col_stride, d_stride = op.d_out.col_stride;
    const auto out_of = [&](int64_t row) { return &op.out(row, columns.begin); };
    const int64_t bytes = stride == 1 ? n * static_cast<int64_t>(sizeof(T)) : 0;
    for (int64_t i = 0; i < ids.count; ++i) {
        if (i + kRowsAhead < ids.count) fetch_row(out_of(ids.index_of(i + kRowsAhead)), bytes);
        const int64_t row = ids.index_of(i);
        if (row < rows.begin || row >= rows.end) continue;
        const T* const d = &op.d_out(i, columns.begin);
        T* const out = out_of(row);
        for_each_vector<T>(0, n, [&](int64_t j, int lanes) {
            T* const at = out + j * stride;
            store_items(load_items(at, stride, lanes) + load_items(d + j * d_stride, d_stride, lanes), at, stride,
                        lanes);
        });
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(EmbeddingBackward)
