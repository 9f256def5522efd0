#include "cuda/gemm.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void launch(const ops::MatMul<T>& op, Stream& stream) {
    GemmCall<T> call;
    call.a = op.a, call.b = op.b, call.c = op.out, call.precision = op.precision;
    gemm(call, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(MatMul)
