#include "common/losses.h"

#include "cuda/device/item_loss.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void launch(const ops::GaussianLoss<T>& op, Stream& stream) {
    launch_item_loss(gaussian_items(op), number_of(op), stream, GaussianItem{});
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(GaussianLoss)
