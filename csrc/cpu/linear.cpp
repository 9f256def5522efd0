#include "cpu/bias_activation.h"
#include "cpu/gemm.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
template <class T>
void run(const ops::Linear<T>& op, Team& team) {
    if (!op.b && op.activation.is_identity()) return gemm(op.x, op.w, op.out, op.precision, NoEpilogue(), team);
    gemm(op.x, op.w, op.out, op.precision, bias_activation(op.b, op.activation), team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Linear)
