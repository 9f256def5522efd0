#include "common/philox.h"
#include "cuda/device/guard.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;

__device__ int64_t thread_of_grid() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }

// A thread computes the numbers of one counter.
template <class T>
__global__ void __launch_bounds__(kThreads)
    random_uniform_kernel(Guard guard, VectorView<T> out, UniformInterval<T> uniform, uint64_t seed, uint64_t stream) {
    if (is_stopped(guard)) return;
    constexpr int kPerCounter = UniformInterval<T>::kPerCounter;
    const int64_t counter = thread_of_grid(), first = counter * kPerCounter;
    if (first >= out.size) return;
    const Philox words = Philox::at(seed, stream, static_cast<uint64_t>(counter));
#pragma unroll
    for (int l = 0; l < kPerCounter; ++l)
        if (first + l < out.size) out[first + l] = uniform(words, l);
}

__global__ void __launch_bounds__(kThreads)
    random_bits_kernel(Guard guard, VectorView<uint64_t> out, uint64_t seed, uint64_t stream) {
    if (is_stopped(guard)) return;
    const int64_t counter = thread_of_grid(), first = counter * 2;
    if (first >= out.size) return;
    const Philox words = Philox::at(seed, stream, static_cast<uint64_t>(counter));
    out[first] = words.bits64(0);
    if (first + 1 < out.size) out[first + 1] = words.bits64(1);
}

dim3 grid_for(int64_t counters) { return dim3(static_cast<unsigned>(blocks_for(counters, kThreads))); }

}  // namespace

template <class T>
void launch(const ops::RandomUniform<T>& op, Stream& stream) {
    const int64_t counters = blocks_for(op.out.size, UniformInterval<T>::kPerCounter);
    launch_kernel(stream, random_uniform_kernel<T>, grid_for(counters), dim3(kThreads), 0, stream.guard(), op.out,
                  UniformInterval<T>(op.low, op.high), op.seed, op.stream);
}

void launch(const ops::RandomBits& op, Stream& stream) {
    launch_kernel(stream, random_bits_kernel, grid_for(blocks_for(op.out.size, 2)), dim3(kThreads), 0, stream.guard(),
                  op.out, op.seed, op.stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(RandomUniform)
