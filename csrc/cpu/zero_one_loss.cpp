#include "cpu/rows.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::ZeroOneLoss<T>& op, Team& team) {
    const RowWeights<T> weights{{}, op.labels, op.has_ignore_label, op.ignore_label};
    if (!check_labels(weights, op.scores.cols, number_of(op), team)) return;
    const double total = weights.sum(op.scores.rows);
    sum_over_rows(op.scores.rows, total != 0 ? 1 / total : 0, op.out, team, [&](Range rows) {
        double errors = 0;
        for (int64_t i = rows.begin; i < rows.end; ++i) {
            if (weights.ignored(i)) continue;
            errors += first_largest(op.scores, i) != op.labels[i];
        }
        return errors;
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(ZeroOneLoss)
