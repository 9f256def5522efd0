// Asynchronous copies from global to shared memory, during which the thread computes. A thread's copies since its last
// commit form a group; wait<N>() returns when all but the last N groups have arrived. A barrier then shows them to the
// other threads.
#pragma once

#include "cuda/device/shared.cuh"

#if !defined(STEEPEST_STANDIN)

namespace steepest {
inline namespace STEEPEST_TARGET {

// Copies W items to index i on, or zeros. `from` is not read if `valid` is false.
template <int W, class T, int N>
__device__ __forceinline__ void copy_async(SharedArray<T, N>& to, int i, const T* from, bool valid) {
    constexpr int kBytes = W * sizeof(T);
    static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "the sizes that cp.async copies");
    const unsigned target = static_cast<unsigned>(__cvta_generic_to_shared(to.items + i));
    const int bytes = valid ? kBytes : 0;
    if constexpr (kBytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(from), "r"(bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(target), "l"(from), "n"(kBytes), "r"(bytes)
                     : "memory");
}

__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int N>
__device__ __forceinline__ void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

#endif
