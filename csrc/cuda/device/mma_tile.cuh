// The product of two tiles of float32 in shared memory on tensor cores, in one of three precisions. For the items that
// a lane holds, see mma.cuh.
#pragma once

#include <cmath>

#include "common/precision.h"
#include "cuda/device/mma.cuh"
#include "cuda/device/shared.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <Precision P, int Rows, int Cols, int WarpRows, int WarpCols>
struct MmaTile {
    using T = float;
    static constexpr int kRows = Rows, kCols = Cols, kInner = 16;
    static constexpr int kDown = WarpRows / 16, kAcross = WarpCols / 8;  // tiles of a warp, one for each instruction
    static constexpr int kWarpsAcross = kCols / WarpCols;
    static constexpr int kThreads = (kRows / WarpRows) * kWarpsAcross * kWarp;
    static constexpr int kItems = kDown * kAcross * 4;
    static constexpr int kWidth = 2;
    static constexpr int kPadding = 8;  // the four lines that a warp reads at once lie in different banks

    float sum[kItems];

    __device__ MmaTile() {
        const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
        row_ = warp / kWarpsAcross * WarpRows + lane / 4;
        col_ = warp % kWarpsAcross * WarpCols;
        group_ = lane / 4, pair_ = lane % 4;
#pragma unroll
        for (int e = 0; e < kItems; ++e) sum[e] = 0;
    }

    // sum += A B. Tensor cores round sums towards zero, and these errors add up. If the precision does not allow that,
    // each tile's products are summed separately, and added to the sum on the ordinary cores, which round to nearest.
    template <int N, int M>
    __device__ void multiply(const SharedArray<float, N>& a, int a_at, const SharedArray<float, M>& b, int b_at) {
        constexpr bool kAddsApart = P == Precision::kHigh;
        constexpr int kSteps = kInner / kStep;
        Fragment<2> right[kSteps][kAcross];
#pragma unroll
        for (int k = 0; k < kSteps; ++k)
#pragma unroll
            for (int j = 0; j < kAcross; ++j)
                read_b(right[k][j], b, b_at + k * kStep * kBStride + col_ + j * 8 + group_);
#pragma unroll
        for (int i = 0; i < kDown; ++i) {
            float part[kAcross][4];
#pragma unroll
            for (int e = 0; e < kAcross * 4; ++e) part[e / 4][e % 4] = kAddsApart ? 0 : sum[i * kAcross * 4 + e];
#pragma unroll
            for (int k = 0; k < kSteps; ++k) {
                Fragment<4> left;
                read_a(left, a, a_at + k * kStep * kAStride + row_ + i * 16);
#pragma unroll
                for (int j = 0; j < kAcross; ++j) multiply_fragments(part[j], left, right[k][j]);
            }
#pragma unroll
            for (int e = 0; e < kAcross * 4; ++e) {
                float& total = sum[i * kAcross * 4 + e];
                total = kAddsApart ? total + part[e / 4][e % 4] : part[e / 4][e % 4];
            }
        }
    }

    // Calls store(i, j, run) for every pair of neighbouring items of row i that this thread holds.
    template <class Store>
    __device__ void for_each_run(Store&& store) const {
#pragma unroll
        for (int i = 0; i < kDown; ++i)
#pragma unroll
            for (int j = 0; j < kAcross; ++j)
#pragma unroll
                for (int half = 0; half < 2; ++half)
                    store(row_ + i * 16 + half * 8, col_ + j * 8 + pair_ * 2,
                          pair_of((i * kAcross + j) * 4 + half * 2));
    }

  private:
    __device__ Vector<float, kWidth> pair_of(int at) const { return {{sum[at], sum[at + 1]}}; }

    static constexpr int kAStride = kRows + kPadding, kBStride = kCols + kPadding;
    static constexpr int kStep = P == Precision::kBfloat16 ? 16 : 8;  // items along k of one instruction
    static constexpr int kParts = P == Precision::kHigh ? 2 : 1;
    static constexpr uint32_t kInfinite = 0x7F800000u;  // the exponent of infinity and NaN

    // An operand's registers: its rounded numbers; for three products also the rounding errors, and the rounded numbers
    // that are multiplied with the other operand's rounding errors. The latter are 0 where a number is infinite or NaN:
    // its product with a rounding error would have an arbitrary sign.
    template <int Count>
    struct Fragment {
        uint32_t whole[Count], rest[kParts > 1 ? Count : 1];

        __device__ void set(int r, float x) {
            whole[r] = round_to_tf32(x);
            if constexpr (kParts > 1) {
                // The largest numbers would be rounded to infinity.
                const bool overflows = (whole[r] & kInfinite) == kInfinite && x - x == 0;
                if (overflows) whole[r] = __float_as_uint(x) & 0xFFFFE000u;
                const float left = x - __uint_as_float(whole[r]);
                rest[r] = left - left == 0 ? round_to_tf32(left) : 0;
            }
        }

        // Computed where it is needed, since registers are scarce.
        __device__ void copy_finite(uint32_t (&to)[Count]) const {
#pragma unroll
            for (int r = 0; r < Count; ++r) to[r] = (whole[r] & kInfinite) == kInfinite ? 0 : whole[r];
        }
    };

    // `at` is the index of item (k, g) for this lane's g.
    template <int N>
    __device__ void read_a(Fragment<4>& f, const SharedArray<float, N>& a, int at) const {
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const int down = r % 2 * 8;
            if constexpr (P == Precision::kBfloat16) {
                const int k = 2 * pair_ + r / 2 * 8;
                f.whole[r] = pack_bf16(a[at + k * kAStride + down], a[at + (k + 1) * kAStride + down]);
            } else {
                f.set(r, a[at + (pair_ + r / 2 * 4) * kAStride + down]);
            }
        }
    }

    template <int N>
    __device__ void read_b(Fragment<2>& f, const SharedArray<float, N>& b, int at) const {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            if constexpr (P == Precision::kBfloat16) {
                const int k = 2 * pair_ + r * 8;
                f.whole[r] = pack_bf16(b[at + k * kBStride], b[at + (k + 1) * kBStride]);
            } else {
                f.set(r, b[at + (pair_ + r * 4) * kBStride]);
            }
        }
    }

    // a b = a0 b0 + (a0 b1 + a1 b0) + a1 b1, whose last term is below the float32 machine epsilon. The small terms are
    // added first.
    static __device__ void multiply_fragments(float (&d)[4], const Fragment<4>& a, const Fragment<2>& b) {
        if constexpr (P == Precision::kBfloat16) {
            mma_bf16(d, a.whole, b.whole);
        } else {
            if constexpr (kParts > 1) {
                uint32_t finite_a[4], finite_b[2];
                a.copy_finite(finite_a), b.copy_finite(finite_b);
                mma_tf32(d, a.rest, finite_b), mma_tf32(d, finite_a, b.rest);
            }
            mma_tf32(d, a.whole, b.whole);
        }
    }

    int row_, col_, group_, pair_;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
