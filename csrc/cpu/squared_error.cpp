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
    const int64_t m = p.cols;
    T* const scratch = static_cast<T*>(team.scratch(3 * m * sizeof(T)));
    sum_over_rows(p.rows, scale, op.loss, team, [&](Range rows) {
        double sum = 0;
        for (int64_t i = rows.begin; i < rows.end; ++i) {
            const double w = weights[i];
            const V slope(static_cast<T>(2 * scale * w));
            const T *prediction = contiguous_row(p, i, scratch), *target = contiguous_row(t, i, scratch + m);
            T* const gradient = writable_row(d, i, scratch + 2 * m);
            double row_sum = 0;
            for_each_vector<T>(0, m, [&](int64_t j, int lanes) {
                const V error = load_items(prediction + j, 1, lanes) - load_items(target + j, 1, lanes);
                row_sum += reduce_add_wide(error * error);
                store_items(w != 0 ? slope * error : V(0), gradient + j, 1, lanes);
            });
            put_row(d, i, gradient);
            if (w != 0) sum += w * row_sum;
        }
        return sum;
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SquaredError)
