#include "cpu/item_loss.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::PointwiseLoss<T>& op, Team& team) {
    const auto items = pointwise_items(op);
    with_loss(op.kind, op.parameter,
              [&](auto formula) { run_item_loss(items, team, PointwiseItem<decltype(formula)>{formula}); });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(PointwiseLoss)
