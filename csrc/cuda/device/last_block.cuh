// Results that need the work of all blocks of a grid, without a second kernel. Every block writes its part to global
// memory and takes a ticket. The block with the last ticket combines all parts, in an order that does not depend on
// which block comes last.
#pragma once

#include "cuda/device/warp.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Whether this block is the last of `blocks` to call this function. All threads of a block call it and get the same
// answer. If it is true, they see everything that the other blocks wrote before their calls. Afterwards the ticket is
// zero again.
__device__ inline bool is_last_block(unsigned* ticket, unsigned blocks, SharedArray<int, 1>& flag) {
    __threadfence();  // writes of this thread come before the ticket
    __syncthreads();  // and so do the writes of the whole block
    if (threadIdx.x == 0) {
        const bool last = atomicAdd(ticket, 1u) == blocks - 1;
        if (last) *ticket = 0;
        __threadfence();  // reads of other blocks' writes come after the ticket
        flag[0] = last;
    }
    __syncthreads();  // the flag is written
    return flag[0] != 0;
}

template <int Threads>
struct GridSumMemory {
    SharedArray<double, Threads / kWarp> partial;
    SharedArray<int, 1> last;
};

// Sums the values of all threads of a one-dimensional grid; `partial` has room for a number for each block. Returns
// true, with the sum in `value`, for the threads of one block.
template <int Threads>
__device__ bool sum_over_grid(double& value, double* partial, unsigned* ticket, GridSumMemory<Threads>& memory) {
    value = combine_block<Threads>(value, memory.partial, Plus());
    if (gridDim.x == 1) return true;
    if (threadIdx.x == 0) partial[blockIdx.x] = value;
    if (!is_last_block(ticket, gridDim.x, memory.last)) return false;
    value = 0;
    for (unsigned b = threadIdx.x; b < gridDim.x; b += Threads) value += partial[b];
    value = combine_block<Threads>(value, memory.partial, Plus());
    return true;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
