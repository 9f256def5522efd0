#include "cpu/gemm_tile.h"

#include <utility>

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T>
using TileKernel = void (*)(int64_t, const T*, int64_t, int64_t, const T*, int64_t, T*, int64_t, int, bool);

// Rows x Vectors accumulators live in registers for the whole of k. With kPartial the last vector has only `last`
// columns. Products are summed from zero and then added to c: the error of a long k does not exceed that of its blocks.
template <class T, int Rows, int Vectors, bool kPartial>
void tile_kernel(int64_t k, const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k, T* c, int64_t c_row,
                 int last, bool accumulate) {
    using V = Vec<T>;
    V sum[Rows][Vectors];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) sum[i][j] = V(0);

    // Three rows of a share a base pointer: base, base + stride and base + 2 stride are each one addressing mode.
    constexpr int kBases = (Rows + 2) / 3;
    const T* base[kBases];
#pragma GCC unroll 8
    for (int g = 0; g < kBases; ++g) base[g] = a + 3 * g * a_row;

    for (int64_t p = 0; p < k; ++p) {
        V row[Vectors];
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j)
            row[j] = kPartial && j == Vectors - 1 ? V::load(b + j * V::kSize, last) : V::load(b + j * V::kSize);
        b += b_k;
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
            const V item(base[i / 3][(i % 3) * a_row]);
#pragma GCC unroll 4
            for (int j = 0; j < Vectors; ++j) sum[i][j] = fma(item, row[j], sum[i][j]);
        }
#pragma GCC unroll 8
        for (int g = 0; g < kBases; ++g) base[g] += a_k;
    }

#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
        T* out = c + i * c_row;
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) {
            T* at = out + j * V::kSize;
            if (kPartial && j == Vectors - 1) {
                (accumulate ? sum[i][j] + V::load(at, last) : sum[i][j]).store(at, last);
            } else {
                (accumulate ? sum[i][j] + V::load(at) : sum[i][j]).store(at);
            }
        }
    }
}

// The kernel of each height, number of vectors, and whether the last of these is partial.
template <class T, class = std::make_integer_sequence<int, kTileRows>>
struct TileKernels;

template <class T, int... Rows>
struct TileKernels<T, std::integer_sequence<int, Rows...>> {
    static constexpr TileKernel<T> kKernels[kTileRows][2][2] = {
        {{tile_kernel<T, Rows + 1, 1, false>, tile_kernel<T, Rows + 1, 1, true>},
         {tile_kernel<T, Rows + 1, 2, false>, tile_kernel<T, Rows + 1, 2, true>}}...};
};

template <class T, int Rows>
STEEPEST_HD void column_kernel(int64_t k, const T* a, int64_t a_row, const T* b, T* c, int64_t c_row, bool accumulate) {
    using V = Vec<T>;
    V sum[Rows];
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) sum[i] = V(0);
    int64_t p = 0;
    for (; p + V::kSize <= k; p += V::kSize) {
        const V items = V::load(b + p);
#pragma GCC unroll 8
        for (int i = 0; i < Rows; ++i) sum[i] = fma(V::load(a + i * a_row + p), items, sum[i]);
    }
    if (p < k) {
        const int rest = static_cast<int>(k - p);
        const V items = V::load(b + p, rest);
#pragma GCC unroll 8
        for (int i = 0; i < Rows; ++i) sum[i] = fma(V::load(a + i * a_row + p, rest), items, sum[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
        const T product = reduce_add(sum[i]);
        c[i * c_row] = accumulate ? product + c[i * c_row] : product;
    }
}

}  // namespace

template <class T>
void multiply_column(int rows, int64_t k, const T* a, int64_t a_row, const T* b, T* c, int64_t c_row, bool accumulate) {
    constexpr int kTogether = 8;  // independent chains of sums, which overlap
    int i = 0;
    for (; i + kTogether <= rows; i += kTogether)
        column_kernel<T, kTogether>(k, a + i * a_row, a_row, b, c + i * c_row, c_row, accumulate);
    for (; i + 2 <= rows; i += 2) column_kernel<T, 2>(k, a + i * a_row, a_row, b, c + i * c_row, c_row, accumulate);
    if (i < rows) column_kernel<T, 1>(k, a + i * a_row, a_row, b, c + i * c_row, c_row, accumulate);
}

template <class T>
void multiply_tile(int rows, int cols, int64_t k, const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k, T* c,
                   int64_t c_row, bool accumulate) {
    constexpr int kSize = Vec<T>::kSize;
    static_assert(kTileVectors == 2);
    const int vectors = (cols + kSize - 1) / kSize;
    const int last = cols - (vectors - 1) * kSize;
    TileKernels<T>::kKernels[rows - 1][vectors - 1][last < kSize](k, a, a_row, a_k, b, b_k, c, c_row, last, accumulate);
}

template void multiply_column(int, int64_t, const float*, int64_t, const float*, float*, int64_t, bool);
template void multiply_column(int, int64_t, const double*, int64_t, const double*, double*, int64_t, bool);
template void multiply_tile(int, int, int64_t, const float*, int64_t, int64_t, const float*, int64_t, float*, int64_t,
                            bool);
template void multiply_tile(int, int, int64_t, const double*, int64_t, int64_t, const double*, int64_t, double*,
                            int64_t, bool);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
