// Shared memory. A kernel describes its shared memory as a struct of SharedArrays; the launch allocates that many
// bytes. All access goes through these functions, so that the stand-in for CUDA can check each one: bounds,
// uninitialised items, and races between threads that no barrier separates.
#pragma once

#include "cuda/device/platform.cuh"

#if defined(STEEPEST_STANDIN)
#include "standin/shared.h"
#else

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T, int N>
struct alignas(16) SharedArray {
    T items[N];

    __device__ __forceinline__ T& operator[](int i) { return items[i]; }
    __device__ __forceinline__ const T& operator[](int i) const { return items[i]; }
};

// The shared memory of this block.
template <class Layout>
__device__ __forceinline__ Layout& shared_memory() {
    extern __shared__ __align__(16) unsigned char steepest_shared_bytes[];
    return *reinterpret_cast<Layout*>(steepest_shared_bytes);
}

// W items from index i on, which must be a multiple of W.
template <int W, class T, int N>
__device__ __forceinline__ Vector<T, W> load_shared(const SharedArray<T, N>& from, int i) {
    return *reinterpret_cast<const Vector<T, W>*>(from.items + i);
}

template <int W, class T, int N>
__device__ __forceinline__ void store_shared(SharedArray<T, N>& to, int i, const Vector<T, W>& v) {
    *reinterpret_cast<Vector<T, W>*>(to.items + i) = v;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

#endif
