// Weight gradients and the update of the weights in one launch: the gradient is used where it is made, and all layers
// share the launch.
#pragma once

#include <vector>

#include "cuda/gemm.h"
#include "cuda/update_target.h"
#include "ops/update.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
struct GradientUpdate {
    GemmCall<T> gradient;
    UpdateTarget<T> target;
};

// Whether the product is one whose time goes into launches and memory, not into arithmetic: large ones have kernels
// with more registers to themselves.
template <class T>
bool takes_update(const GemmCall<T>& gradient, const Device& device);

// The rule is that of `update`, whose own tensors are not looked at.
template <class T>
void launch_with_update(const std::vector<GradientUpdate<T>>& layers, const ops::Update<T>& update, Stream& stream);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
