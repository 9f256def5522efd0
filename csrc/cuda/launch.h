// The function that launches all kernels.
#pragma once

#include <type_traits>

#include "cuda/stream.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Runs kernel(arguments...) on a grid of blocks, each with `shared_bytes` of shared memory.
template <class... Parameters>
void launch_kernel(const Stream& stream, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                   const std::type_identity_t<Parameters>&... arguments) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    ++stream.state.launches;
#if defined(STEEPEST_STANDIN)
    standin::launch(stream.handle, grid, block, shared_bytes, [=] { kernel(arguments...); });
#else
    constexpr size_t kWithoutAsking = 48 << 10;
    const void* const address = reinterpret_cast<const void*>(kernel);
    if (shared_bytes > kWithoutAsking)
        STEEPEST_CUDA_CHECK(
            cudaFuncSetAttribute(address, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
    void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
    STEEPEST_CUDA_CHECK(cudaLaunchKernel(address, grid, block, pointers, shared_bytes, stream.handle));
#endif
}

// The number of blocks of `size` that cover n items.
constexpr int64_t blocks_for(int64_t n, int64_t size) { return (n + size - 1) / size; }

}  // namespace STEEPEST_TARGET
}  // namespace steepest
