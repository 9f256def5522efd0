#include "common/dropout.h"

#include "common/philox.h"
#include "cuda/device/elementwise.cuh"
#include "cuda/device/guard.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kPerCounter = 4;  // items that one counter has words for

// A thread processes the items of one counter, in vectors of W.
template <int W, class T>
__global__ void __launch_bounds__(kThreads) dropout_kernel(Guard guard, ops::Dropout<T> op, DropoutRule<T> rule) {
    if (is_stopped(guard)) return;
    const int64_t counter = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    const int64_t vectors = op.x.rows * op.x.cols / W, first = counter * (kPerCounter / W);
    if (first >= vectors) return;
    const Philox words = Philox::at(op.seed, static_cast<uint64_t>(op.stream.get()), static_cast<uint64_t>(counter));
#pragma unroll
    for (int v = 0; v < kPerCounter / W; ++v) {
        if (first + v >= vectors) return;
        Vector<T, W> items = load_items<W>(op.x, first + v);
#pragma unroll
        for (int l = 0; l < W; ++l) items[l] = rule(items[l], words.word[v * W + l]);
        store_items<W>(op.out, first + v, items);
    }
}

}  // namespace

template <class T>
void launch(const ops::Dropout<T>& op, Stream& stream) {
    constexpr int kWidth = kVectorWidth<T>;
    static_assert(kPerCounter % kWidth == 0);
    const int64_t counters = blocks_for(op.x.rows * op.x.cols, kPerCounter);
    const bool runs = is_vector_run(op.x) && is_vector_run(op.out);
    launch_kernel(stream, runs ? dropout_kernel<kWidth, T> : dropout_kernel<1, T>,
                  dim3(static_cast<unsigned>(blocks_for(counters, kThreads))), dim3(kThreads), 0, stream.guard(), op,
                  DropoutRule<T>(op.rate));
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Dropout)
