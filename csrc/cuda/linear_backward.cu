#include "cuda/linear_backward.h"

#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void launch(const ops::LinearBackward<T>& op, Stream& stream) {
    gemm(weight_gradient(op), stream);
    if (op.d_x) gemm(input_gradient(op), stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(LinearBackward)
