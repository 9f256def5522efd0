#include "cpu/item_loss.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::PointwiseLoss<T>& op, Team& team) {
    const double outputs = op.adds_outputs ? 1.0 : static_cast<double>(op.prediction.cols);
    const ItemLoss<T, 2, 1> items{
        {op.prediction, op.target}, {op.d_prediction}, op.sample_weight, op.factor / outputs, op.loss};
    with_loss(op.kind, op.parameter,
              [&](auto formula) { run_item_loss(items, team, PointwiseItem<decltype(formula)>{formula}); });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(PointwiseLoss)
