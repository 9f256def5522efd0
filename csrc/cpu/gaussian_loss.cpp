#include "cpu/item_loss.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::GaussianLoss<T>& op, Team& team) {
    const int64_t n = op.target.rows, m = op.target.cols;
    const ItemLoss<T, 3, 2> items{{op.prediction.block(0, 0, n, m), op.prediction.block(0, m, n, m), op.target},
                                  {op.d_prediction.block(0, 0, n, m), op.d_prediction.block(0, m, n, m)},
                                  op.sample_weight,
                                  op.adds_outputs ? 1.0 : 1.0 / static_cast<double>(m),
                                  op.loss};
    run_item_loss(items, team, GaussianItem{});
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(GaussianLoss)
