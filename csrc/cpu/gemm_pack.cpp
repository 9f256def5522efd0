#include "cpu/gemm_pack.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// Copies up to kSize columns from `from`, and as many products of each, transposed into rows of the panel.
template <class T>
STEEPEST_HD void pack_square(const T* from, int64_t col_stride, int cols, int products, T* to, int64_t to_stride) {
    using V = Vec<T>;
    V square[V::kSize];
    for (int l = 0; l < V::kSize; ++l) square[l] = l < cols ? V::load(from + l * col_stride, products) : V(0);
    transpose(square);
    for (int l = 0; l < V::kSize; ++l)
        if (l < products) square[l].store(to + l * to_stride);
}

// Copies `rows` contiguous items of each product. Whole vectors are written where they end inside the result: what lies
// beyond the rows of a product belongs to the next ones, whose items are written later. `readable` items may be read.
template <class T>
STEEPEST_HD void copy_rows(const T* from, int64_t from_stride, int rows, int64_t products, int64_t readable, T* to) {
    using V = Vec<T>;
    for (int i = (rows - 1) / V::kSize * V::kSize; i >= 0; i -= V::kSize) {
        const int lanes = rows - i < V::kSize ? rows - i : V::kSize;
        const int64_t room = products * rows - i - V::kSize;  // behind the first product's vector
        const int64_t whole = readable - i < V::kSize || room < 0 ? 0 : room / rows + 1;
        for (int64_t p = 0; p < whole; ++p) V::load(from + p * from_stride + i).store(to + p * rows + i);
        for (int64_t p = whole; p < products; ++p)
            V::load(from + p * from_stride + i, lanes).store(to + p * rows + i, lanes);
    }
}

}  // namespace

template <class T>
void pack_panels(MatrixView<const T> b, int64_t k0, int64_t kn, int64_t j0, int64_t jn, T* packed) {
    using V = Vec<T>;
    constexpr int kCols = TileShape<T>::kCols;
    for (int64_t j = 0; j < jn; j += V::kSize) {
        const int cols = static_cast<int>(jn - j < V::kSize ? jn - j : V::kSize);
        const T* from = &b(k0, j0 + j);
        T* to = packed + j / kCols * kCols * kn + j % kCols;
        if (b.col_stride == 1) {
            for (int64_t p = 0; p < kn; ++p) V::load(from + p * b.row_stride, cols).store(to + p * kCols);
        } else if (b.row_stride == 1) {
            for (int64_t p = 0; p < kn; p += V::kSize) {
                const int products = static_cast<int>(kn - p < V::kSize ? kn - p : V::kSize);
                pack_square(from + p, b.col_stride, cols, products, to + p * kCols, kCols);
            }
        } else {
            for (int64_t p = 0; p < kn; ++p)
                for (int l = 0; l < V::kSize; ++l)
                    to[p * kCols + l] = l < cols ? from[p * b.row_stride + l * b.col_stride] : T(0);
        }
    }
}

template <class T>
void pack_rows(MatrixView<const T> a, int64_t i0, int rows, int64_t k0, int64_t kn, T* packed) {
    using V = Vec<T>;
    const T* const from = &a(i0, k0);
    if (a.row_stride == 1) return copy_rows(from, a.col_stride, rows, kn, a.rows - i0, packed);
    if (a.col_stride != 1) {
        for (int i = 0; i < rows; ++i)
            for (int64_t p = 0; p < kn; ++p) packed[p * rows + i] = from[i * a.row_stride + p * a.col_stride];
        return;
    }
    // Each square is written as whole vectors. Its last lanes may lie in the next product's items, which are written
    // later: products ascend and, for one product, rows descend.
    for (int64_t p = 0; p < kn; p += V::kSize) {
        const int products = static_cast<int>(kn - p < V::kSize ? kn - p : V::kSize);
        for (int i = (rows - 1) / V::kSize * V::kSize; i >= 0; i -= V::kSize) {
            const int lanes = rows - i < V::kSize ? rows - i : V::kSize;
            pack_square(from + i * a.row_stride + p, a.row_stride, lanes, products, packed + p * rows + i, rows);
        }
    }
}

template <class T>
void pack_tiles(MatrixView<const T> a, const RowTiles& tiles, int64_t k0, int64_t kn, T* packed) {
    constexpr int64_t kRun = 16;  // products of all tiles before the next ones, so that their lines stay in the cache
    for (int64_t p = 0; p < kn; p += kRun) {
        const int64_t products = kn - p < kRun ? kn - p : kRun;
        for (int t = 0; t < tiles.count; ++t)
            copy_rows(&a(tiles.first[t], k0 + p), a.col_stride, tiles.rows(t), products, a.rows - tiles.first[t],
                      packed + tiles.offset(t) * kn + p * tiles.rows(t));
    }
}

#define STEEPEST_INSTANTIATE_PACK(T)                                                        \
    template void pack_panels(MatrixView<const T>, int64_t, int64_t, int64_t, int64_t, T*); \
    template void pack_rows(MatrixView<const T>, int64_t, int, int64_t, int64_t, T*);       \
    template void pack_tiles(MatrixView<const T>, const RowTiles&, int64_t, int64_t, T*);
STEEPEST_INSTANTIATE_PACK(float)
STEEPEST_INSTANTIATE_PACK(double)

}  // namespace STEEPEST_TARGET
}  // namespace steepest
