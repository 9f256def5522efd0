#include "common/losses.h"

#include "cuda/device/item_loss.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void launch(const ops::PointwiseLoss<T>& op, Stream& stream) {
    const auto items = pointwise_items(op);
    with_loss(op.kind, op.parameter, [&](auto formula) {
        launch_item_loss(items, number_of(op), stream, PointwiseItem<decltype(formula)>{formula});
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(PointwiseLoss)
