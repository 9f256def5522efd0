#include "cpu/gemm_tile.h"

#include <utility>

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T>
using TileKernel = void (*)(int64_t, const T*, int64_t, int64_t, const T*, int64_t, T*, int64_t, int, bool, Segments);

// Rows x Vectors accumulators live in registers for the whole of k. With kPartial the last vector has only `last`
// columns. Products are summed from zero and then added to c: the error of a long k does not exceed that of its blocks.
// kAhead prefetches the columns behind those of b, from each of its rows: the processor would not foresee them.
template <class V, class T, int Rows, int Vectors, bool kPartial, bool kAhead = false>
void tile_kernel(int64_t k, const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k, T* c, int64_t c_row,
                 int last, bool accumulate, Segments segments) {
    V sum[Rows][Vectors];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) sum[i][j] = V(T(0));

    // Three rows of a share a base pointer: base, base + stride and base + 2 stride are each one addressing mode.
    constexpr int kBases = (Rows + 2) / 3;
    const T* base[kBases];
    for (int64_t s = 0; s < segments.count; ++s) {
#pragma GCC unroll 8
        for (int g = 0; g < kBases; ++g) base[g] = a + segments.offset[s] + 3 * g * a_row;

        for (int64_t p = 0; p < k; ++p) {
            V row[Vectors];
#pragma GCC unroll 4
            for (int j = 0; j < Vectors; ++j)
                row[j] = kPartial && j == Vectors - 1 ? V::load(b + j * V::kSize, last) : V::load(b + j * V::kSize);
            if constexpr (kAhead) {
#pragma GCC unroll 4
                for (int j = 0; j < Vectors; ++j) __builtin_prefetch(b + (Vectors + j) * V::kSize, 0, 2);
            }
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

// The kernels of each height: those of each number of vectors, whose last is whole or partial; of two whole vectors with
// prefetches; and of a narrow vector.
template <class T, class = std::make_integer_sequence<int, kTileRows>>
struct TileKernels;

template <class T, int... Rows>
struct TileKernels<T, std::integer_sequence<int, Rows...>> {
    using V = Vec<T>;
    static constexpr TileKernel<T> kKernels[kTileRows][2][2] = {
        {{tile_kernel<V, T, Rows + 1, 1, false>, tile_kernel<V, T, Rows + 1, 1, true>},
         {tile_kernel<V, T, Rows + 1, 2, false>, tile_kernel<V, T, Rows + 1, 2, true>}}...};
    static constexpr TileKernel<T> kAhead[kTileRows] = {tile_kernel<V, T, Rows + 1, 2, false, true>...};
    static constexpr TileKernel<T> kNarrow[kTileRows] = {tile_kernel<NarrowVec<T>, T, Rows + 1, 1, true>...};
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

// Adds the products of `Depth` rows of b to the rows of c.
template <class T, int Rows, int Depth>
STEEPEST_HD void stream_kernel(int64_t cols, const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k, T* c,
                               int64_t c_row) {
    using V = Vec<T>;
    V item[Rows][Depth];
#pragma GCC unroll 4
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int p = 0; p < Depth; ++p) item[i][p] = V(a[i * a_row + p * a_k]);
    const auto add = [&](int64_t j, auto... lanes) {
        V sum[Rows];
#pragma GCC unroll 4
        for (int i = 0; i < Rows; ++i) sum[i] = V::load(c + i * c_row + j, lanes...);
#pragma GCC unroll 8
        for (int p = 0; p < Depth; ++p) {
            const V row = V::load(b + p * b_k + j, lanes...);
#pragma GCC unroll 4
            for (int i = 0; i < Rows; ++i) sum[i] = fma(item[i][p], row, sum[i]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < Rows; ++i) sum[i].store(c + i * c_row + j, lanes...);
    };
    int64_t j = 0;
    for (; j + V::kSize <= cols; j += V::kSize) add(j);
    if (j < cols) add(j, static_cast<int>(cols - j));
}

template <class T, int Rows>
void stream_rows(int64_t cols, int64_t k, const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k, T* c,
                 int64_t c_row) {
    constexpr int kDepth = Rows == 1 ? 8 : 4;  // rows of b that are read together
    for (int i = 0; i < Rows; ++i)
        for (int64_t j = 0; j < cols; ++j) c[i * c_row + j] = T(0);
    int64_t p = 0;
    for (; p + kDepth <= k; p += kDepth)
        stream_kernel<T, Rows, kDepth>(cols, a + p * a_k, a_row, a_k, b + p * b_k, b_k, c, c_row);
    for (; p < k; ++p) stream_kernel<T, Rows, 1>(cols, a + p * a_k, a_row, a_k, b + p * b_k, b_k, c, c_row);
}

}  // namespace

template <class T>
void multiply_rows(int rows, int64_t cols, int64_t k, const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k,
                   T* c, int64_t c_row) {
    static_assert(kStreamedRows == 3);
    if (rows == 3) return stream_rows<T, 3>(cols, k, a, a_row, a_k, b, b_k, c, c_row);
    if (rows == 2) return stream_rows<T, 2>(cols, k, a, a_row, a_k, b, b_k, c, c_row);
    stream_rows<T, 1>(cols, k, a, a_row, a_k, b, b_k, c, c_row);
}

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
                   int64_t c_row, bool accumulate, bool prefetch, Segments segments) {
    constexpr int kSize = Vec<T>::kSize;
    static_assert(kTileVectors == 2);
    if (prefetch && cols == 2 * kSize)
        return TileKernels<T>::kAhead[rows - 1](k, a, a_row, a_k, b, b_k, c, c_row, kSize, accumulate, segments);
    if constexpr (NarrowVec<T>::kSize < kSize)
        if (cols <= NarrowVec<T>::kSize)
            return TileKernels<T>::kNarrow[rows - 1](k, a, a_row, a_k, b, b_k, c, c_row, cols, accumulate, segments);
    const int vectors = (cols + kSize - 1) / kSize;
    const int last = cols - (vectors - 1) * kSize;
    TileKernels<T>::kKernels[rows - 1][vectors - 1][last < kSize](k, a, a_row, a_k, b, b_k, c, c_row, last, accumulate,
                                                                  segments);
}

template void multiply_column(int, int64_t, const float*, int64_t, const float*, float*, int64_t, bool);
template void multiply_column(int, int64_t, const double*, int64_t, const double*, double*, int64_t, bool);
template void multiply_rows(int, int64_t, int64_t, const float*, int64_t, int64_t, const float*, int64_t, float*,
                            int64_t);
template void multiply_rows(int, int64_t, int64_t, const double*, int64_t, int64_t, const double*, int64_t, double*,
                            int64_t);
template void multiply_tile(int, int, int64_t, const float*, int64_t, int64_t, const float*, int64_t, float*, int64_t,
                            bool, bool, Segments);
template void multiply_tile(int, int, int64_t, const double*, int64_t, int64_t, const double*, int64_t, double*,
                            int64_t, bool, bool, Segments);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
