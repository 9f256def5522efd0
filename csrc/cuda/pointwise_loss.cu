#include "common/losses.h"

#include "cuda/device/item_loss.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void launch(const ops::PointwiseLoss<T>& op, Stream& stream) {
    const double outputs = op.adds_outputs ? 1.0 : static_cast<double>(op.prediction.cols);
    const ItemLoss<T, 2, 1> items{
        {op.prediction, op.target}, {op.d_prediction}, op.sample_weight, op.factor / outputs, op.loss};
    with_loss(op.kind, op.parameter, [&](auto formula) {
        launch_item_loss(items, op.name(), stream, PointwiseItem<decltype(formula)>{formula});
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(PointwiseLoss)
