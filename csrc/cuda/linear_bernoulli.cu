#include "common/activations.h"
#include "common/bernoulli.h"
#include "common/philox.h"
#include "cuda/device/guard.cuh"
#include "cuda/device/lane.cuh"
#include "cuda/gemm.h"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kPerCounter = 4;  // items that one counter has words for

// A thread draws the items of one counter: up to four neighbours of a row. A draw in the product's epilogue would need
// a counter for each item, since a thread of the product holds items of several rows.
template <class T>
__global__ void __launch_bounds__(kThreads) draw_kernel(Guard guard, ops::LinearBernoulli<T> op) {
    if (is_stopped(guard)) return;
    const int64_t counter = int64_t{blockIdx.x} * kThreads + threadIdx.x, in_row = first_counter(1, op.means.cols);
    if (counter >= op.means.rows * in_row) return;
    const int64_t i = counter / in_row, j0 = counter % in_row * kPerCounter;
    Philox words{};
    if (!op.uniforms)
        words = Philox::at(op.seed, static_cast<uint64_t>(op.stream.get()), static_cast<uint64_t>(counter));
#pragma unroll
    for (int l = 0; l < kPerCounter; ++l) {
        const int64_t j = j0 + l;
        if (j >= op.means.cols) return;
        const T u = op.uniforms ? op.uniforms(i, j) : open_uniform<T>(words.word[l]);
        op.draws(i, j) = bernoulli_draw(Lane<T>(op.means(i, j)), Lane<T>(u)).value;
    }
}

}  // namespace

template <class T>
void launch(const ops::LinearBernoulli<T>& op, Stream& stream) {
    GemmCall<T> call;
    call.a = op.x, call.b = op.w, call.c = op.means, call.precision = op.precision;
    call.bias = op.b, call.activation.kind = ActivationKind::kSigmoid;
    gemm(call, stream);
    const int64_t counters = first_counter(op.means.rows, op.means.cols);
    launch_kernel(stream, draw_kernel<T>, dim3(static_cast<unsigned>(blocks_for(counters, kThreads))), dim3(kThreads),
                  0, stream.guard(), op);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(LinearBernoulli)
