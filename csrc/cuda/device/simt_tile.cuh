// The product of two tiles in shared memory on the ordinary cores: each thread keeps ThreadRows x ThreadCols items of
// the result in registers.
#pragma once

#include <cmath>

#include "cuda/device/shared.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class Item, int Rows, int Cols, int Inner, int ThreadRows, int ThreadCols>
struct SimtTile {
    using T = Item;
    static constexpr int kRows = Rows, kCols = Cols, kInner = Inner;
    static constexpr int kThreads = (kRows / ThreadRows) * (kCols / ThreadCols);
    static constexpr int kItems = ThreadRows * ThreadCols;  // items of the result in each thread
    static constexpr int kWidth = kVectorWidth<T>;          // neighbouring columns that a thread holds
    static constexpr int kPadding = kWidth;                 // keeps vectors aligned, and spreads lines over the banks

    // A thread's rows and columns are runs of kWidth items, kRowGap and kColGap apart. The threads of a warp, 4 down
    // and 8 across, then read neighbouring vectors.
    static constexpr int kRowGap = kRows / (ThreadRows / kWidth), kColGap = kCols / (ThreadCols / kWidth);
    static constexpr int kWarpsAcross = kCols / ThreadCols / 8;
    static_assert(kWarpsAcross > 0 && kThreads % kWarp == 0, "warps are 4 x 8 threads");

    T sum[kItems];

    __device__ SimtTile() {
        const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
        row_ = (warp / kWarpsAcross * 4 + lane / 8) * kWidth;
        col_ = (warp % kWarpsAcross * 8 + lane % 8) * kWidth;
#pragma unroll
        for (int e = 0; e < kItems; ++e) sum[e] = T(0);
    }

    // sum += A B, with A at a[a_at ...] and B at b[b_at ...], both laid out as TileLoader does.
    template <int N, int M>
    __device__ void multiply(const SharedArray<T, N>& a, int a_at, const SharedArray<T, M>& b, int b_at) {
        constexpr int kAStride = kRows + kPadding, kBStride = kCols + kPadding;
        T left[2][ThreadRows], right[2][ThreadCols];
        // The fragments of the next k are fetched while those of this one are multiplied.
        read<ThreadRows, kRowGap>(left[0], a, a_at + row_), read<ThreadCols, kColGap>(right[0], b, b_at + col_);
#pragma unroll
        for (int k = 0; k < kInner; ++k) {
            const int now = k % 2, next = 1 - now;
            if (k + 1 < kInner) {
                read<ThreadRows, kRowGap>(left[next], a, a_at + (k + 1) * kAStride + row_);
                read<ThreadCols, kColGap>(right[next], b, b_at + (k + 1) * kBStride + col_);
            }
#pragma unroll
            for (int i = 0; i < ThreadRows; ++i)
#pragma unroll
                for (int j = 0; j < ThreadCols; ++j)
                    sum[i * ThreadCols + j] = std::fma(left[now][i], right[now][j], sum[i * ThreadCols + j]);
        }
    }

    // Calls store(i, j, run) for every run of kWidth neighbouring items of row i that this thread holds.
    template <class Store>
    __device__ void for_each_run(Store&& store) const {
#pragma unroll
        for (int i = 0; i < ThreadRows; ++i)
#pragma unroll
            for (int j = 0; j < ThreadCols; j += kWidth)
                store(row_ + i / kWidth * kRowGap + i % kWidth, col_ + j / kWidth * kColGap,
                      run_of(i * ThreadCols + j));
    }

  private:
    __device__ Vector<T, kWidth> run_of(int at) const {
        Vector<T, kWidth> run;
#pragma unroll
        for (int l = 0; l < kWidth; ++l) run[l] = sum[at + l];
        return run;
    }

    template <int Count, int Gap, int N>
    static __device__ __forceinline__ void read(T (&to)[Count], const SharedArray<T, N>& from, int at) {
#pragma unroll
        for (int c = 0; c < Count / kWidth; ++c) {
            const Vector<T, kWidth> v = load_shared<kWidth>(from, at + c * Gap);
#pragma unroll
            for (int l = 0; l < kWidth; ++l) to[c * kWidth + l] = v[l];
        }
    }

    int row_, col_;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
