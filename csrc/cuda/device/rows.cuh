// How groups of threads divide the rows of a matrix.
#pragma once

#include <type_traits>

#include "cuda/device/vectors.cuh"
#include "cuda/device/warp.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The maximum number of blocks. Blocks take rows in turn, so a grid need not grow with the matrix.
constexpr int64_t kMaxRowBlocks = 2048;

inline unsigned row_blocks(int64_t rows, int rows_at_once) {
    const int64_t blocks = (rows + rows_at_once - 1) / rows_at_once;
    return static_cast<unsigned>(blocks < kMaxRowBlocks ? blocks : kMaxRowBlocks);
}

// Calls f with the number of neighbouring threads that share a row of `cols` items: few for a short row, so that no
// thread is idle; all `Threads` of a block for a long one.
template <int Threads, class F>
void with_lanes(int64_t cols, F&& f) {
    if (cols <= 2) return f(std::integral_constant<int, 1>());
    if (cols <= 64) return f(std::integral_constant<int, 8>());
    if (cols <= 2048) return f(std::integral_constant<int, kWarp>());
    f(std::integral_constant<int, Threads>());
}

// Row i, or an empty one past the end. Its address comes from m in either case, so that the compiler knows that it is
// in global memory.
template <class T>
__device__ __forceinline__ VectorView<T> row_of(const MatrixView<T>& m, int64_t i) {
    const bool exists = i < m.rows;
    return {m.row(exists ? i : 0), exists ? m.cols : 0, m.col_stride};
}

// Consecutive items of a row in the registers of `Lanes` neighbouring threads, `Vectors` times 16 bytes in each. The
// threads take vectors in turn if all rows involved are aligned to them, and single items in turn otherwise.
template <class T, int Lanes, int Vectors>
struct RowChunk {
    static constexpr int kWidth = kVectorWidth<T>;
    static constexpr int kStep = Lanes * kWidth;  // number of items that all lanes hold in one vector each
    static constexpr int kSpan = Vectors * kStep;

    const int lane = static_cast<int>(threadIdx.x % Lanes);
    bool in_vectors = false;
    int size = 0;  // number of items of the row in the chunk
    T item[Vectors * kWidth];

    __device__ RowChunk() {}
    explicit __device__ RowChunk(bool in_vectors) : in_vectors(in_vectors) {}

    // The position of this thread's item q in the chunk.
    __device__ __forceinline__ int position_of(int q) const {
        return in_vectors ? q / kWidth * kStep + lane * kWidth + q % kWidth : q * Lanes + lane;
    }
    // The index of this thread's item at a position in the chunk; -1 if another thread holds it.
    __device__ __forceinline__ int index_of(int position) const {
        const int holder = (in_vectors ? position / kWidth : position) % Lanes;
        if (holder != lane) return -1;
        return in_vectors ? position / kStep * kWidth + position % kWidth : position / Lanes;
    }

    // Loads items start, start + 1, ...; items past the end are `rest`.
    __device__ __forceinline__ void load(const VectorView<const T>& row, int64_t start, T rest) {
        size = static_cast<int>(row.size - start < kSpan ? row.size - start : kSpan);
        if (in_vectors) {
            const T* const from = row.data + start + lane * kWidth;
#pragma unroll
            for (int v = 0; v < Vectors; ++v) {
                Vector<T, kWidth> vector;
#pragma unroll
                for (int k = 0; k < kWidth; ++k) vector[k] = rest;
                if (v * kStep + lane * kWidth < size)
                    vector = *reinterpret_cast<const Vector<T, kWidth>*>(from + v * kStep);
#pragma unroll
                for (int k = 0; k < kWidth; ++k) item[v * kWidth + k] = vector[k];
            }
        } else {
            // The address moves from item to item: separate offsets for all items would occupy registers.
            const T* from = row.data + (start + lane) * row.stride;
            const int64_t step = Lanes * row.stride;
#pragma unroll
            for (int q = 0; q < Vectors * kWidth; ++q, from += step) item[q] = q * Lanes + lane < size ? *from : rest;
        }
    }

    // Stores the items where `load` found them, or at the same place of another row.
    __device__ __forceinline__ void store(const VectorView<T>& row, int64_t start) const {
        if (in_vectors) {
            T* const to = row.data + start + lane * kWidth;
#pragma unroll
            for (int v = 0; v < Vectors; ++v) {
                Vector<T, kWidth> vector;
#pragma unroll
                for (int k = 0; k < kWidth; ++k) vector[k] = item[v * kWidth + k];
                if (v * kStep + lane * kWidth < size) *reinterpret_cast<Vector<T, kWidth>*>(to + v * kStep) = vector;
            }
        } else {
            T* to = row.data + (start + lane) * row.stride;
            const int64_t step = Lanes * row.stride;
#pragma unroll
            for (int q = 0; q < Vectors * kWidth; ++q, to += step)
                if (q * Lanes + lane < size) *to = item[q];
        }
    }

    // Calls f(q) for this thread's items, in the order of the row. Vectors past the end for all lanes are left out;
    // single items past the end are not.
    template <class F>
    __device__ __forceinline__ void for_each(F&& f) {
#pragma unroll
        for (int v = 0; v < Vectors; ++v) {
            if (v * kStep >= size) continue;
#pragma unroll
            for (int k = 0; k < kWidth; ++k) f(v * kWidth + k);
        }
    }
};

// The shared memory in which the threads of a row combine their results.
template <class T, int Lanes>
using GroupArray = SharedArray<T, (Lanes > kWarp ? Lanes / kWarp : 1)>;

// Combines the values of the `Lanes` threads of a row: a part of a warp, or a whole block.
template <int Lanes, class T, class Combine>
__device__ __forceinline__ T combine_group(T value, GroupArray<T, Lanes>& partial, Combine combine) {
    if constexpr (Lanes <= kWarp)
        return combine_lanes<Lanes>(value, combine);
    else
        return combine_block<Lanes>(value, partial, combine);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
