// Where the items of several views of one shape lie.
#pragma once

#include "common/views.h"
#include "cuda/device/platform.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// How many items number e along the axes, of which there is at least one, lies behind the first in each of N views. An
// Index of 32 bits is divided several times as fast as one of 64.
template <class Index, int N>
__device__ __forceinline__ void offsets_of(const CommonAxes<N>& axes, Index e, int64_t (&offset)[N]) {
    for (int v = 0; v < N; ++v) offset[v] = 0;
    for (int d = axes.axes - 1; d > 0; --d) {
        const auto extent = static_cast<Index>(axes.extent[d]);
        const Index rest = e / extent, at = e - rest * extent;
        for (int v = 0; v < N; ++v) offset[v] += static_cast<int64_t>(at) * axes.stride[v][d];
        e = rest;
    }
    for (int v = 0; v < N; ++v) offset[v] += static_cast<int64_t>(e) * axes.stride[v][0];
}

// From here on an item of the last axis stands for a vector of `width` items.
template <int N>
void walk_in_vectors(CommonAxes<N>& axes, int64_t width) {
    const int last = axes.axes - 1;
    axes.extent[last] /= width;
    for (auto& stride : axes.stride) stride[last] *= width;
}

// Whether 32 bits suffice to number `count` items.
STEEPEST_HD constexpr bool fits_small_index(int64_t count) { return count < int64_t{1} << 31; }

}  // namespace STEEPEST_TARGET
}  // namespace steepest
