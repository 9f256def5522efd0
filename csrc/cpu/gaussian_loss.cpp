#include "cpu/item_loss.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::GaussianLoss<T>& op, Team& team) {
    run_item_loss(gaussian_items(op), team, GaussianItem{});
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(GaussianLoss)
