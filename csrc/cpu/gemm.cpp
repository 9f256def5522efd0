#include "cpu/gemm.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr size_t kSmallWeights = 128 << 10;  // bytes that every thread can read without waiting for memory

Part part_of(int64_t m, int64_t n, int64_t k, int64_t tile_rows, int64_t tile_cols, size_t item_bytes, bool may_split_k,
             Team& team) {
    const int64_t rank = team.rank(), size = team.size(), blocks = blocks_of(k);
    if (m == 0 || n == 0) return {{0, 0}, {0, 0}, {0, blocks}};
    const size_t partial_bytes = static_cast<size_t>(blocks - 1) * m * n * item_bytes;
    if (may_split_k && size > 1 && blocks > 1 && m <= kFewRows && partial_bytes <= kPartialBytes) {
        const int64_t members = size < blocks ? size : blocks;
        // Threads without a block must still come to the barrier.
        if (rank >= members) return {{0, m}, {0, n}, {blocks, blocks}};
        return {{0, m}, {0, n}, {blocks * rank / members, blocks * (rank + 1) / members}};
    }
    if (static_cast<size_t>(k * n) * item_bytes <= kSmallWeights && m >= 2 * size)
        return {{m * rank / size, m * (rank + 1) / size}, {0, n}, {0, blocks}};
    const int64_t most_down = (m + tile_rows - 1) / tile_rows, most_across = (n + tile_cols - 1) / tile_cols;
    int64_t best_down = 1, best_across = 1;
    double best_cost = -1;
    for (int64_t fit = 1; fit <= size && fit <= most_across; ++fit) {
        const int64_t down = size / fit < most_down ? size / fit : most_down;
        // The products of the slowest thread, then the items that all threads read.
        const double tiles = 1.0 * ((most_down + down - 1) / down) * ((most_across + fit - 1) / fit);
        const double cost = tiles * tile_rows * tile_cols * k + 4.0 * k * (down * n + fit * m);
        if (best_cost < 0 || cost < best_cost) best_cost = cost, best_down = down, best_across = fit;
    }
    if (rank >= best_down * best_across) return {{m, m}, {n, n}, {0, blocks}};
    const int64_t r = rank / best_across, q = rank % best_across;
    const int64_t j0 = most_across * q / best_across * tile_cols, j1 = most_across * (q + 1) / best_across * tile_cols;
    return {{m * r / best_down, m * (r + 1) / best_down}, {j0, j1 < n ? j1 : n}, {0, blocks}};
}

template <class T>
bool pays_to_pack_rows(MatrixView<const T> a, int64_t cols) {
    // Items of a are broadcast from any stride. But if k strides over more than a few pages, or if rows a multiple
    // of 1 KiB apart compete for the same cache sets, a tile that is used by several panels is better copied once.
    if (cols < 2 * TileShape<T>::kCols || a.rows < 4 * kTileRows) return false;
    if (a.col_stride != 1) return a.cols > 64;
    return a.row_stride * static_cast<int64_t>(sizeof(T)) % 1024 == 0;
}

template <class T>
bool pays_to_pack_panels(MatrixView<const T> b, int64_t rows) {
    return b.col_stride != 1 || (rows >= 6 * kTileRows && b.rows > 64 && b.cols > TileShape<T>::kCols);
}

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
    const MatrixView<const T> block = a.block(i0, k0, rows, kn);
    if (block.row_stride == 1) {
        using V = Vec<T>;
        for (int64_t p = 0; p < kn; ++p) {
            const T* from = block.data + p * block.col_stride;
            T* to = packed + p * rows;
            for (int i = 0; i < rows; i += V::kSize) {
                const int lanes = rows - i < V::kSize ? rows - i : V::kSize;
                V::load(from + i, lanes).store(to + i, lanes);
            }
        }
        return;
    }
    for (int i = 0; i < rows; ++i) {
        const T* from = block.data + i * block.row_stride;
        for (int64_t p = 0; p < kn; ++p) packed[p * rows + i] = from[p * block.col_stride];
    }
}

#define STEEPEST_INSTANTIATE_GEMM(T)                                                        \
    template bool pays_to_pack_rows(MatrixView<const T>, int64_t);                          \
    template bool pays_to_pack_panels(MatrixView<const T>, int64_t);                        \
    template void pack_panels(MatrixView<const T>, int64_t, int64_t, int64_t, int64_t, T*); \
    template void pack_rows(MatrixView<const T>, int64_t, int, int64_t, int64_t, T*);
STEEPEST_INSTANTIATE_GEMM(float)
STEEPEST_INSTANTIATE_GEMM(double)

}  // namespace STEEPEST_TARGET
}  // namespace steepest
