// Results that need the work of all blocks of a grid, without a second kernel: every block leaves its part in global
// memory and takes a ticket, and the one that takes the last combines all parts, in an order that does not depend on
// when they came.
#pragma once

#include "cuda/device/warp.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Whether this block is the last of `blocks` to come here: true for all its threads, which then see what all threads of
// the other blocks wrote before. All threads of a block call this; the ticket is back at zero afterwards.
__device__ inline bool is_last_block(unsigned* ticket, unsigned blocks, SharedArray<int, 1>& flag) {
    __threadfence();  // what this thread wrote comes before the ticket
    __syncthreads();  // and so it does for the whole block
    if (threadIdx.x == 0) {
        const bool last = atomicAdd(ticket, 1u) == blocks - 1;
        if (last) *ticket = 0;
        __threadfence();  // what the others wrote comes after it
        flag[0] = last;
    }
    __syncthreads();  // the flag is there
    return flag[0] != 0;
}

template <int Threads>
struct GridSumMemory {
    SharedArray<double, Threads / kWarp> partial;
    SharedArray<int, 1> last;
};

// Adds the values of all threads of a one-dimensional grid; `partial` holds a number for each block. True, with the sum
// in `value`, for the threads of one block.
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
