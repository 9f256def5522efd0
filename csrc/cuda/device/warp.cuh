// Sums and extrema over the threads of a group of neighbouring lanes, or of a block. The order of the operations
// depends on the number of threads alone.
#pragma once

#include "cuda/device/shared.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

struct Plus {
    template <class T>
    __device__ T operator()(T a, T b) const {
        return a + b;
    }
};

struct Smaller {
    template <class T>
    __device__ T operator()(T a, T b) const {
        return b < a ? b : a;
    }
};

// NaN propagates.
struct Larger {
    template <class T>
    __device__ T operator()(T a, T b) const {
        return a > b || a != a ? a : b;
    }
};

// Combines the values of `Width` neighbouring lanes (a power of two up to 32); every lane gets the result.
template <int Width, class T, class Combine>
__device__ __forceinline__ T combine_lanes(T value, Combine combine) {
    for (int offset = Width / 2; offset > 0; offset /= 2)
        value = combine(value, __shfl_xor_sync(kAllLanes, value, offset));
    return value;
}

// Combines the values of all threads of a block of `Threads`; every thread gets the result. Takes two barriers.
template <int Threads, class T, class Combine>
__device__ __forceinline__ T combine_block(T value, SharedArray<T, Threads / kWarp>& partial, Combine combine) {
    constexpr int kWarps = Threads / kWarp;
    value = combine_lanes<kWarp>(value, combine);
    if constexpr (kWarps == 1) return value;
    if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = value;
    __syncthreads();  // the results of all warps are written
    T total = partial[0];
    for (int w = 1; w < kWarps; ++w) total = combine(total, static_cast<T>(partial[w]));
    __syncthreads();  // and may be overwritten now
    return total;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
