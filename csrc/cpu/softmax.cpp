#include "cpu/run.h"
#include "cpu/softmax_row.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::Softmax<T>& op, Team& team) {
    using V = Vec<T>;
    const auto& x = op.x;
    const auto& out = op.out;
    const Range mine = team.split(x.rows, 1 + 256 / (x.cols + 1));
    T* const row_copy = op.logarithm ? static_cast<T*>(team.scratch(x.cols * sizeof(T))) : nullptr;
    for (int64_t i = mine.begin; i < mine.end; ++i) {
        if (op.logarithm) {
            // The exponentials are needed for their sum only; out may be x, which is still needed.
            const auto row = exponentiate_row(x.row(i), x.col_stride, row_copy, 1, x.cols);
            alignas(64) T log_sum[V::kSize];
            V(row.sum).store(log_sum);
            log_of_sums(log_sum, 1);
            for_each_vector<T>(0, x.cols, [&](int64_t j, int lanes) {
                const V v = load_items(&x(i, j), x.col_stride, lanes);
                store_items(v - V(row.maximum) - V(log_sum[0]), &out(i, j), out.col_stride, lanes);
            });
        } else {
            const auto row = exponentiate_row(x.row(i), x.col_stride, out.row(i), out.col_stride, x.cols);
            const V divisor(row.sum);
            for_each_vector<T>(0, x.cols, [&](int64_t j, int lanes) {
                store_items(load_items<T>(&out(i, j), out.col_stride, lanes) / divisor, &out(i, j), out.col_stride, lanes);
            });
        }
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Softmax)
