// The first largest item of a row; a NaN counts as the largest.
#pragma once

#include "cuda/device/rows.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
struct Largest {
    T value;
    int64_t column;

    // Whichever of two candidates is larger, or comes first.
    __device__ static Largest of(const Largest& a, const Largest& b) {
        const bool a_is_nan = a.value != a.value, b_is_nan = b.value != b.value;
        if (a_is_nan != b_is_nan) return a_is_nan ? a : b;
        if (!a_is_nan && a.value != b.value) return a.value > b.value ? a : b;
        return a.column < b.column ? a : b;
    }
};

template <class T, int Lanes>
struct LargestMemory {
    GroupArray<T, Lanes> value;
    GroupArray<int64_t, Lanes> column;
};

// The column of the first largest item, for all threads of the row.
template <int Lanes, class T>
__device__ int64_t first_largest(const VectorView<const T>& row, bool in_vectors, LargestMemory<T, Lanes>& memory) {
    constexpr int kVectors = Lanes < kWarp ? 2 : 4;
    constexpr T kLowest = -static_cast<T>(__builtin_inf());
    RowChunk<T, Lanes, kVectors> x(in_vectors);
    // If all items of a thread are -inf, its first column is the result.
    Largest<T> best{kLowest, x.position_of(0)};
    for (int64_t start = 0; start < row.size; start += x.kSpan) {
        x.load(row, start, kLowest);
        int at = -1;
        x.for_each([&](int q) {
            const T item = x.item[q];
            if (item > best.value || (item != item && best.value == best.value)) best.value = item, at = q;
        });
        if (at >= 0) best.column = start + x.position_of(at);
    }
    constexpr int kWidth = Lanes < kWarp ? Lanes : kWarp;
    for (int offset = kWidth / 2; offset > 0; offset /= 2) {
        const Largest<T> other{__shfl_xor_sync(kAllLanes, best.value, offset),
                               __shfl_xor_sync(kAllLanes, best.column, offset)};
        best = Largest<T>::of(best, other);
    }
    if constexpr (Lanes > kWarp) {
        if (threadIdx.x % kWarp == 0) {
            memory.value[threadIdx.x / kWarp] = best.value;
            memory.column[threadIdx.x / kWarp] = best.column;
        }
        __syncthreads();  // the candidates of all warps are written
        best = {memory.value[0], memory.column[0]};
        for (int w = 1; w < Lanes / kWarp; ++w)
            best = Largest<T>::of(best, Largest<T>{memory.value[w], memory.column[w]});
        __syncthreads();  // and may be overwritten now
    }
    return best.column;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
