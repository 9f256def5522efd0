#include "cpu/gemm.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::MatMul<T>& op, Team& team) {
    if (pays_to_turn(op.a, op.b))
        return gemm(op.b.transposed(), op.a.transposed(), op.out.transposed(), op.precision, NoEpilogue(), team);
    gemm(op.a, op.b, op.out, op.precision, NoEpilogue(), team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(MatMul)
