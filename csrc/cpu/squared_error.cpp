#include "cpu/rows.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::SquaredError<T>& op, Team& team) {
    using V = Vec<T>;
    const auto &p = op.prediction, &t = op.target;
    const auto& d = op.d_prediction;
    const RowWeights<T> weights{op.sample_weight, {}, false, 0};
    const double total = weights.sum(p.rows);
    const double scale = total != 0 ? (op.half ? 0.5 : 1.0) / (total * static_cast<double>(p.cols)) : 0;
    sum_over_rows(p.rows, scale, op.loss, team, [&](Range rows) {
        double sum = 0;
        for (int64_t i = rows.begin; i < rows.end; ++i) {
            const double w = weights[i];
            const V slope(static_cast<T>(2 * scale * w));
            double row_sum = 0;
            for_each_vector<T>(0, p.cols, [&](int64_t j, int lanes) {
                const V error = load_items(&p(i, j), p.col_stride, lanes) - load_items(&t(i, j), t.col_stride, lanes);
                row_sum += reduce_add_wide(error * error);
                store_items(w != 0 ? slope * error : V(0), &d(i, j), d.col_stride, lanes);
            });
            if (w != 0) sum += w * row_sum;
        }
        return sum;
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SquaredError)
