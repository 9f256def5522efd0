// Copies of blocks of the operands, in the order in which the register tiles of a product read them.
#pragma once

#include <cstdint>

#include "common/views.h"
#include "cpu/gemm_tile.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Copies rows k0 .. k0+kn of b, columns j0 .. j0+jn, into panels of TileShape::kCols columns, padded with zeros.
template <class T>
void pack_panels(MatrixView<const T> b, int64_t k0, int64_t kn, int64_t j0, int64_t jn, T* packed);

// Items behind the packed rows that pack_rows may overwrite.
template <class T>
constexpr int kPackedRowsEnd = Vec<T>::kSize;

// Copies `rows` rows of a from i0, products k0 .. k0+kn, with the products outermost: item (i, p) at p * rows + i.
template <class T>
void pack_rows(MatrixView<const T> a, int64_t i0, int rows, int64_t k0, int64_t kn, T* packed);

// Some neighbouring tiles of rows: tile t has rows first[t] .. first[t + 1].
struct RowTiles {
    static constexpr int kMost = 8;
    int count;
    int64_t first[kMost + 1];

    STEEPEST_HD int rows(int tile) const { return static_cast<int>(first[tile + 1] - first[tile]); }
    STEEPEST_HD int64_t offset(int tile) const { return first[tile] - first[0]; }
};

// Packs the rows of each tile, one tile after the other, of a matrix with contiguous columns: it is read by longer runs
// of its memory than a single tile has.
template <class T>
void pack_tiles(MatrixView<const T> a, const RowTiles& tiles, int64_t k0, int64_t kn, T* packed);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
