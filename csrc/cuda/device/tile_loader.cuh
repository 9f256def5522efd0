// Fetches tiles of a matrix of any strides into shared memory, asynchronously.
#pragma once

#include "common/views.h"
#include "cuda/device/copy_async.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The order in which the threads copy a tile.
enum class Walk : int8_t {
    kVectors,  // 16 bytes at a time along the rows' dimension, which is contiguous and aligned
    kRows,     // items, neighbouring threads take neighbouring rows
    kInner,    // items, neighbouring threads take neighbours along the inner dimension
};

// Copying in vectors requires aligned vectors, whole vectors at every edge, and contiguous rows.
template <class T>
STEEPEST_HD Walk walk_over(const MatrixView<const T>& m) {
    constexpr int64_t kItems = kVectorWidth<T>;
    const bool aligned = reinterpret_cast<uintptr_t>(m.data) % 16 == 0 && m.col_stride % kItems == 0;
    if (m.row_stride == 1 && aligned && m.rows % kItems == 0) return Walk::kVectors;
    return magnitude(m.row_stride) <= magnitude(m.col_stride) ? Walk::kRows : Walk::kInner;
}

// The tiles of `Rows` rows by `Inner` items of an operand (rows x inner dimension) that one block needs, in the order
// of the inner dimension. In shared memory, item (r, k) of a tile is at k * Stride + r, with zeros past the edges.
template <class T, int Rows, int Inner, int Stride, int Threads>
class TileLoader {
  public:
    __device__ TileLoader(const MatrixView<const T>& m, Walk walk, int64_t first_row, int64_t first_inner,
                          int64_t end_inner)
        : walk_(walk), inner_left_(end_inner - first_inner) {
        const int thread = static_cast<int>(threadIdx.x);
        if (walk == Walk::kInner)
            row_ = thread / Inner, inner_ = thread % Inner, row_step_ = Threads / Inner, inner_step_ = 0;
        else
            row_ = thread % row_items(walk) * width_of(walk), inner_ = thread / row_items(walk), row_step_ = 0,
            inner_step_ = Threads / row_items(walk);
        rows_left_ = m.rows - first_row;
        from_ = m.data + (first_row + row_) * m.row_stride + (first_inner + inner_) * m.col_stride;
        step_ = row_step_ * m.row_stride + inner_step_ * m.col_stride;
        tile_step_ = Inner * m.col_stride;
    }

    // Starts copying the next tile to tiles[at ...].
    template <int N>
    __device__ void fetch(SharedArray<T, N>& tiles, int at) {
        if (walk_ == Walk::kVectors)
            copy<kItems, Rows * Inner* static_cast<int>(sizeof(T)) / 16 / Threads>(tiles, at);
        else
            copy<1, Rows * Inner / Threads>(tiles, at);
        from_ += tile_step_;
        inner_left_ -= Inner;
    }

  private:
    static constexpr int kItems = kVectorWidth<T>;
    static_assert(Threads % Inner == 0 && (Threads % Rows == 0 || Rows % Threads == 0), "threads fill whole lines");
    static_assert(Rows <= Threads && Threads % (Rows / kItems) == 0, "a pass covers whole lines along the rows");
    static_assert(Rows * Inner % (Threads * kItems) == 0, "every thread copies equally much");

    static constexpr __device__ int width_of(Walk walk) { return walk == Walk::kVectors ? kItems : 1; }
    static constexpr __device__ int row_items(Walk walk) { return Rows / width_of(walk); }

    template <int W, int Count, int N>
    __device__ void copy(SharedArray<T, N>& tiles, int at) {
        const T* from = from_;
#pragma unroll
        for (int i = 0; i < Count; ++i, from += step_) {
            const int row = row_ + i * row_step_, inner = inner_ + i * inner_step_;
            copy_async<W>(tiles, at + inner * Stride + row, from, row < rows_left_ && inner < inner_left_);
        }
    }

    Walk walk_;
    int row_, inner_, row_step_, inner_step_;
    int64_t rows_left_, inner_left_;
    const T* from_;
    int64_t step_, tile_step_;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
