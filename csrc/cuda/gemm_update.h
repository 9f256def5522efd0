// Weight gradients and the update of the weights in one launch: the gradient is used where it is computed, and all
// layers share the launch.
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

// Whether the product spends its time on launches and memory, not on arithmetic. Large products have kernels of their
// own, with more registers for the product.
template <class T>
bool takes_update(const GemmCall<T>& gradient, const Device& device);

// Applies the rule of `update` to the layers; the tensors of `update` are not used.
template <class T>
void launch_with_update(const std::vector<GradientUpdate<T>>& layers, const ops::Update<T>& update, Stream& stream);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
