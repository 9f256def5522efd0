// Totals of columns: the threads of a block are side by side along a row, and below one another.
#pragma once

#include "cuda/device/shared.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class Total, int Threads, int W>
struct ColumnsMemory {
    SharedArray<Total, Threads * W> total;
    SharedArray<int, 1> last;
};

// Merges the totals of the threads that are `width` apart into those of the first `width` threads.
template <class Total, int Threads, int W, class Merge>
__device__ void merge_down(Total (&total)[W], int width, ColumnsMemory<Total, Threads, W>& memory, Merge merge) {
    const int t = static_cast<int>(threadIdx.x);
    for (int active = Threads / 2; active >= width; active /= 2) {
        if (t >= active && t < 2 * active)
            for (int k = 0; k < W; ++k) memory.total[k * Threads + t] = total[k];
        __syncthreads();  // the upper half has left its totals to the lower
        if (t < active)
            for (int k = 0; k < W; ++k)
                total[k] = merge(total[k], static_cast<Total>(memory.total[k * Threads + t + active]));
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
