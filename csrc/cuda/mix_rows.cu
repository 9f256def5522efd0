#include "common/augmentation.h"
#include "cuda/device/guard.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads) mix_rows_kernel(Guard guard, ops::MixRows<T> op) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kThreads + threadIdx.x, n = op.x.rows;
    if (e >= n * op.x.cols) return;
    const int64_t i = e / op.x.cols, j = e - i * op.x.cols;
    const T weight = op.weights[i];
    op.out(i, j) = mixed(op.x(i, j), op.x(i + 1 < n ? i + 1 : 0, j), weight, 1 - weight);
}

}  // namespace

template <class T>
void launch(const ops::MixRows<T>& op, Stream& stream) {
    launch_kernel(stream, mix_rows_kernel<T>, dim3(static_cast<unsigned>(blocks_for(op.x.rows * op.x.cols, kThreads))),
                  dim3(kThreads), 0, stream.guard(), op);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(MixRows)
