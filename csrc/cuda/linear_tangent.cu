#include "cuda/gemm.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void launch(const ops::LinearTangent<T>& op, Stream& stream) {
    GemmCall<T> call;
    call.a = op.x, call.b = op.v, call.c = op.out, call.precision = op.precision;
    if (op.dx) {
        gemm(call, stream);
        call.a = op.dx, call.b = op.w, call.accumulate = true;
    }
    call.bias = op.c;
    if (!op.activation.is_identity()) call.output = op.y, call.activation = op.activation;
    gemm(call, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(LinearTangent)
