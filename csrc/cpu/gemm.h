// The matrix product that all linear operations are made of: c = a @ b, then an epilogue on each finished tile.
//
// Rows of b are read as vectors and items of a are broadcast, so row-major operands are read where they lie; an
// operand is packed only where its strides forbid that, or where it is reused often enough to pay for the copy.
//
// Every item is accumulated in the same order, k ascending in blocks of kBlockK, whatever the tile, the packing and
// the share of the team: results are bit-identical for any number of threads.
#pragma once

#include <cstdint>

#include "common/views.h"
#include "cpu/gemm_tile.h"
#include "cpu/team.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int64_t kBlockK = 512;  // a tile's rows of a then fill most of the first-level cache
constexpr int64_t kBlockN = 256;  // kBlockK x kBlockN of b stays in the second-level cache
constexpr int64_t kBlockM = 128;  // rows of c that are staged when c itself has strided columns

// A finished tile: c(i0 + i, j0 + j) stands at data[i * stride + j].
template <class T>
struct Tile {
    T* data;
    int64_t stride;
    int64_t i0, rows, j0, cols;
};

struct NoEpilogue {
    template <class T>
    STEEPEST_HD void operator()(const Tile<T>&) const {}
};

struct Block {
    Range rows, cols;
};

// This member's block of an (m, n) product over k: the grid of the team that makes it read least. Splitting by rows
// makes every member read all of b, splitting by columns all of a. A result that is updated by columns afterwards
// (`by_columns`: a weight gradient) counts as read once more when it is split by rows.
Block share_of(int64_t m, int64_t n, int64_t k, int64_t tile_rows, int64_t tile_cols, bool by_columns, const Team& team);

// Copies rows k0 .. k0+kn of b, columns j0 .. j0+jn, into panels of TileShape::kCols columns, padded with zeros.
template <class T>
void pack_panels(MatrixView<const T> b, int64_t k0, int64_t kn, int64_t j0, int64_t jn, T* packed);

// Copies `rows` rows of a from i0, products k0 .. k0+kn, with the products outermost: item (i, p) at p * rows + i.
template <class T>
void pack_rows(MatrixView<const T> a, int64_t i0, int rows, int64_t k0, int64_t kn, T* packed);

// Whether reading an operand where it lies costs more than packing it.
template <class T>
bool pays_to_pack_rows(MatrixView<const T> a, int64_t cols);
template <class T>
bool pays_to_pack_panels(MatrixView<const T> b, int64_t rows);

template <class T, class Epilogue>
void gemm_block(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, Range rows, Range cols, const Epilogue& epilogue,
                T* scratch) {
    constexpr int kRows = TileShape<T>::kRows, kCols = TileShape<T>::kCols;
    const int64_t k = a.cols;
    const bool pack_a = pays_to_pack_rows(a, cols.end - cols.begin);
    const bool pack_b = pays_to_pack_panels(b, rows.end - rows.begin);
    const bool stage_c = c.col_stride != 1;
    T* const packed_a = scratch;
    T* const packed_b = packed_a + kRows * kBlockK;
    T* const staged_c = packed_b + kBlockK * kBlockN;
    // Tiles of equal height: 32 rows are 11 + 11 + 10, not 14 + 14 + 4.
    const int64_t tiles = (rows.end - rows.begin + kRows - 1) / kRows;

    int64_t k0 = 0;
    do {
        const int64_t kn = k - k0 < kBlockK ? k - k0 : kBlockK;
        const bool last_block = k0 + kn == k;
        if (pack_b) pack_panels(b, k0, kn, cols.begin, cols.end - cols.begin, packed_b);
        for (int64_t t = 0; t < tiles; ++t) {
            const int64_t i0 = rows.begin + (rows.end - rows.begin) * t / tiles;
            const int tile_rows = static_cast<int>(rows.begin + (rows.end - rows.begin) * (t + 1) / tiles - i0);
            const T* a_tile = &a.data[i0 * a.row_stride + k0 * a.col_stride];
            int64_t a_row = a.row_stride, a_k = a.col_stride;
            if (pack_a) {
                pack_rows(a, i0, tile_rows, k0, kn, packed_a);
                a_tile = packed_a, a_row = 1, a_k = tile_rows;
            }
            for (int64_t j0 = cols.begin; j0 < cols.end; j0 += kCols) {
                const int tile_cols = static_cast<int>(cols.end - j0 < kCols ? cols.end - j0 : kCols);
                const T* b_tile = pack_b ? packed_b + (j0 - cols.begin) * kn : b.data + k0 * b.row_stride + j0;
                Tile<T> tile{c.data + i0 * c.row_stride + j0, c.row_stride, i0, tile_rows, j0, tile_cols};
                if (stage_c) tile.data = staged_c + (i0 - rows.begin) * kBlockN + (j0 - cols.begin), tile.stride = kBlockN;
                multiply_tile<T>(tile_rows, tile_cols, kn, a_tile, a_row, a_k, b_tile, pack_b ? kCols : b.row_stride, tile.data,
                                 tile.stride, k0 > 0);
                if (last_block) epilogue(tile);
            }
        }
        k0 += kn;
    } while (k0 < k);

    if (stage_c) {
        for (int64_t i = rows.begin; i < rows.end; ++i)
            for (int64_t j = cols.begin; j < cols.end; ++j) c(i, j) = staged_c[(i - rows.begin) * kBlockN + (j - cols.begin)];
    }
}

// Computes this member's share of c.
template <class T, class Epilogue>
void gemm(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, bool by_columns, const Epilogue& epilogue, Team& team) {
    const Block mine = share_of(a.rows, b.cols, a.cols, TileShape<T>::kRows, TileShape<T>::kCols, by_columns, team);
    if (mine.rows.empty() || mine.cols.empty()) return;
    const bool stage_c = c.col_stride != 1;
    constexpr size_t kPacked = TileShape<T>::kRows * kBlockK + kBlockK * kBlockN;
    T* const scratch = static_cast<T*>(team.scratch((kPacked + (stage_c ? kBlockM * kBlockN : 0)) * sizeof(T)));
    for (int64_t j0 = mine.cols.begin; j0 < mine.cols.end; j0 += kBlockN) {
        const Range cols{j0, mine.cols.end - j0 < kBlockN ? mine.cols.end : j0 + kBlockN};
        for (int64_t i0 = mine.rows.begin; i0 < mine.rows.end;) {
            const int64_t i1 = stage_c && mine.rows.end - i0 > kBlockM ? i0 + kBlockM : mine.rows.end;
            gemm_block(a, b, c, {i0, i1}, cols, epilogue, scratch);
            i0 = i1;
        }
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
