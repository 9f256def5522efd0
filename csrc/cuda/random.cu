#include <cmath>

#include "common/philox.h"
#include "cuda/device/guard.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;

__device__ int64_t thread_of_grid() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }

// A thread makes the numbers of one counter: four of float32, two of float64.
template <class T>
constexpr int kPerCounter = sizeof(T) == 4 ? 4 : 2;

template <class T>
struct Uniform {
    VectorView<T> out;
    double low, width;
    T high, below;  // rounding may give `high`, which does not belong to the interval
    uint64_t seed, stream;
};

template <class T>
__global__ void __launch_bounds__(kThreads) random_uniform_kernel(Guard guard, Uniform<T> u) {
    if (is_stopped(guard)) return;
    const int64_t counter = thread_of_grid(), first = counter * kPerCounter<T>;
    if (first >= u.out.size) return;
    const Philox words = Philox::at(u.seed, u.stream, static_cast<uint64_t>(counter));
#pragma unroll
    for (int l = 0; l < kPerCounter<T>; ++l) {
        if (first + l >= u.out.size) break;
        const double unit = sizeof(T) == 4 ? uniform_float(words.word[l]) : uniform_double(words.bits64(l & 1));
        const T number = static_cast<T>(u.low + u.width * unit);
        u.out[first + l] = number == u.high ? u.below : number;
    }
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
    const T high = static_cast<T>(op.high);
    const Uniform<T> u{op.out,  op.low,   op.high - op.low, high, std::nextafter(high, static_cast<T>(op.low)),
                       op.seed, op.stream};
    launch_kernel(stream, random_uniform_kernel<T>, grid_for(blocks_for(op.out.size, kPerCounter<T>)), dim3(kThreads),
                  0, stream.guard(), u);
}

void launch(const ops::RandomBits& op, Stream& stream) {
    launch_kernel(stream, random_bits_kernel, grid_for(blocks_for(op.out.size, 2)), dim3(kThreads), 0, stream.guard(),
                  op.out, op.seed, op.stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(RandomUniform)
