// Fetches tiles of an operand whose inner dimension is a line, as TileLoader does for matrices.
#pragma once

#include "cuda/device/lines.cuh"
#include "cuda/device/tile_loader.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The tiles of `Rows` rows by `Inner` items of an operand that one block needs, in the order of the inner dimension.
template <class T, class Place, int Rows, int Inner, int Stride, int Threads>
class LineLoader {
  public:
    // Numbers from one item of a thread to its next: within a tile, or in the next tile.
    static STEEPEST_HD int64_t numbers_between(Walk walk) {
        return walk == Walk::kInner ? Inner : Threads / (Rows / width_of(walk));
    }

    __device__ LineLoader(Walk walk, const Line<Place>& line, int64_t begin, int64_t end)
        : walk_(walk), inner_left_(end - begin) {
        const int thread = static_cast<int>(threadIdx.x), lines = Rows / width_of(walk);
        if (walk == Walk::kInner)
            row_ = thread / Inner, inner_ = thread % Inner;
        else
            row_ = thread % lines * width_of(walk), inner_ = thread / lines;
        point_ = line.at(begin + inner_);
    }

    // Starts copying the next tile to tiles[at ...]. find(row, place, from) says whether the operand has the item of a
    // row at a place of the line, and where; in vectors, it speaks for all items of one.
    template <int N, class Find>
    __device__ void fetch(SharedArray<T, N>& tiles, int at, const Walking<Place>& walking, const Find& find) {
        if (walk_ == Walk::kInner) {
#pragma unroll
            for (int i = 0; i < Rows * Inner / Threads; ++i)
                copy<1>(tiles, at, row_ + i * (Threads / Inner), inner_, find);
            walking.advance(point_);
        } else if (walk_ == Walk::kRows) {
#pragma unroll
            for (int i = 0; i < Rows * Inner / Threads; ++i, walking.advance(point_))
                copy<1>(tiles, at, row_, inner_ + i * (Threads / Rows), find);
        } else {
#pragma unroll
            for (int i = 0; i < Rows * Inner / kItems / Threads; ++i, walking.advance(point_))
                copy<kItems>(tiles, at, row_, inner_ + i * (Threads * kItems / Rows), find);
        }
        inner_left_ -= Inner;
    }

  private:
    static constexpr int kItems = kVectorWidth<T>;
    static_assert(Threads % Inner == 0 && Threads % Rows == 0, "threads fill whole lines");
    static_assert(Rows * Inner % (Threads * kItems) == 0, "every thread copies equally much");

    static constexpr STEEPEST_HD int width_of(Walk walk) { return walk == Walk::kVectors ? kItems : 1; }

    template <int W, int N, class Find>
    __device__ void copy(SharedArray<T, N>& tiles, int at, int row, int inner, const Find& find) {
        const T* from = nullptr;
        const bool valid = find(row, point_.place, from) && inner < inner_left_;
        copy_async<W>(tiles, at + inner * Stride + row, from, valid);
    }

    Walk walk_;
    int row_, inner_;
    int64_t inner_left_;
    Point<Place> point_;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
