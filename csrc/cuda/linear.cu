#include "cuda/gemm.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void launch(const ops::Linear<T>& op, Stream& stream) {
    GemmCall<T> call;
    call.a = op.x, call.b = op.w, call.c = op.out, call.precision = op.precision;
    call.bias = op.b, call.activation = op.activation;
    gemm(call, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Linear)
