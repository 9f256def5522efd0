// What the kernels of normalisation share: strips of rows, which blocks walk in columns, and their sums.
#pragma once

#include "common/normalization.h"
#include "cuda/device/columns.cuh"
#include "cuda/device/guard.cuh"
#include "cuda/device/rows.cuh"
#include "cuda/device/tensors.cuh"
#include "cuda/launch.h"
#include "ops/normalize.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int kNormThreads = 256;
constexpr int kNormWidth = 32;  // threads along the channels
constexpr int kNormHeight = kNormThreads / kNormWidth;
constexpr int kNormBlocks = 3;  // blocks at once on a multiprocessor: with more, registers spill

using NormColumns = ColumnsMemory<double, kNormThreads, 2>;

// The rows in strips, each within a run of `run_rows` rows. A block takes kNormWidth channels of a strip.
struct Strips {
    int64_t runs, run_rows;   // runs of rows: the samples, or all rows
    int64_t per_run, height;  // strips of a run, and rows of a strip
    int64_t tiles;            // of channels

    Strips(int64_t number, int64_t rows, int64_t channels) : runs(number), run_rows(rows) {
        constexpr int64_t kMostBlocks = 2048, kLeastRows = 8 * kNormHeight;
        tiles = blocks_for(channels, kNormWidth);
        const int64_t beside = runs * tiles, wanted = blocks_for(rows, kLeastRows);
        const int64_t most = beside < kMostBlocks ? kMostBlocks / (beside > 0 ? beside : 1) : 1;
        per_run = wanted < 1 ? 1 : wanted < most ? wanted : most;
        height = blocks_for(rows, per_run);
        if (height > 0) per_run = blocks_for(rows, height);
    }

    int64_t count() const { return runs * per_run; }
    dim3 grid() const { return dim3(static_cast<unsigned>(count() * tiles)); }

    // Rows of a strip, counted from the first row of its run.
    __device__ int64_t begin(int64_t strip) const { return strip % per_run * height; }
    __device__ int64_t end(int64_t strip) const {
        const int64_t after = begin(strip) + height;
        return after < run_rows ? after : run_rows;
    }
};

// The place of a thread in the strips.
struct StripPlace {
    int64_t strip, run, channel, first;  // first: number of the first row of the run
    int down;

    __device__ explicit StripPlace(const Strips& strips)
        : strip(blockIdx.x / strips.tiles),
          run(strip / strips.per_run),
          channel(blockIdx.x % strips.tiles * kNormWidth + threadIdx.x % kNormWidth),
          first(run * strips.run_rows),
          down(static_cast<int>(threadIdx.x) / kNormWidth) {}

    // Calls f(row) for this thread's rows of the strip.
    template <class F>
    __device__ __forceinline__ void for_each_row(const Strips& strips, F&& f) const {
        const int64_t end = strips.end(strip);
        for (int64_t i = strips.begin(strip) + down; i < end; i += kNormHeight) f(first + i);
    }

    // Adds up the threads of each column, and writes both sums of the strip.
    __device__ __forceinline__ void put(double (&total)[2], NormColumns& memory, double* partial,
                                        int64_t channels) const {
        merge_down(total, kNormWidth, memory, Plus());
        if (down > 0 || channel >= channels) return;
        partial[strip * 2 * channels + channel] = total[0];
        partial[strip * 2 * channels + channels + channel] = total[1];
    }
};

// Leading axes of three views of one shape, of which all but the first may be absent.
template <class T>
CommonAxes<3> row_axes(const TensorView<const T>& x, const TensorView<const T>& v, const TensorView<T>& out) {
    CommonAxes<3> axes;
    for (int d = 0; d < x.axes - 1; ++d) axes.add(d, x, v, out);
    return axes;
}

template <class T>
__device__ __forceinline__ int64_t channel_stride(const TensorView<T>& t) {
    return t.stride[t.axes - 1];
}

template <class T>
__device__ __forceinline__ T item_or(const VectorView<const T>& v, int64_t j, T rest) {
    return v ? v[j] : rest;
}

// Calls f with the number of neighbouring threads that share a group of `width` channels of one row.
template <class F>
void with_norm_lanes(int64_t width, F&& f) {
    if (width <= 16) return f(std::integral_constant<int, 4>());
    if (width <= 2048) return f(std::integral_constant<int, kWarp>());
    f(std::integral_constant<int, kNormThreads>());
}

template <int Lanes>
struct NormRowMemory {
    GroupArray<double, Lanes> partial;
};

// Calls f(row, group, lane) for this thread's groups of single rows. All threads call it equally often; a group past
// the last one has row -1.
template <int Lanes, class F>
__device__ __forceinline__ void for_each_group(const NormGroups& shape, F&& f) {
    constexpr int kGroups = kNormThreads / Lanes;
    const int64_t count = shape.samples * shape.groups;
    for (int64_t g0 = int64_t{blockIdx.x} * kGroups; g0 < count; g0 += int64_t{gridDim.x} * kGroups) {
        const int64_t g = g0 + threadIdx.x / Lanes;
        const bool exists = g < count;
        f(exists ? g / shape.groups : -1, exists ? g % shape.groups : 0, static_cast<int>(threadIdx.x % Lanes));
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
