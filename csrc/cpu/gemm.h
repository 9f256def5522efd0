// The matrix product behind all linear operations: c = a @ b, then an epilogue on each finished tile.
//
// Rows of b are read as vectors and items of a are broadcast, so row-major operands are read in place. An operand is
// packed only if its strides require it, or if it is reused often enough to pay for the copy.
//
// Every item is accumulated in the same order: k ascends in equal blocks of at most kBlockK, whatever the tile, the
// packing and the number of threads. Results are therefore bit-identical for any number of threads.
#pragma once

#include <cstdint>

#include "common/views.h"
#include "cpu/gemm_tile.h"
#include "cpu/team.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int64_t kBlockK = 512;  // maximum; with it the rows of a in a tile fill most of the L1 cache
constexpr int64_t kBlockN = 256;  // kBlockK x kBlockN items of b stay in the L2 cache
constexpr int64_t kBlockM = 128;  // rows of c that are staged if c has strided columns

constexpr int64_t kFewRows = 64;  // up to this many rows, a product costs less than moving the weights between caches

// A finished tile: c(i0 + i, j0 + j) is at data[i * stride + j].
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

// The equal blocks that k is summed in; they depend on k alone.
STEEPEST_HD int64_t blocks_of(int64_t k) { return k <= kBlockK ? 1 : (k + kBlockK - 1) / kBlockK; }
STEEPEST_HD int64_t block_begin(int64_t k, int64_t block) { return k * block / blocks_of(k); }

// A part of the product: items (rows, cols), summed over some of the blocks of k.
struct Part {
    Range rows, cols, blocks;
};

// The part of an (m, n) product over k that this thread computes.
//
// With a small b the rows are divided among the threads: from layer to layer, a thread continues with the rows that it
// wrote itself. A product of a few rows with a large b is divided by blocks of k: each thread reads its own rows of the
// weights, which it also updates, and only the partial products move between caches. Other products are divided on the
// grid of threads that reads least: splitting by rows makes every thread read all of b, splitting by columns all of a.
Part part_of(int64_t m, int64_t n, int64_t k, int64_t tile_rows, int64_t tile_cols, size_t item_bytes, bool may_split_k,
             Team& team);

// Copies rows k0 .. k0+kn of b, columns j0 .. j0+jn, into panels of TileShape::kCols columns, padded with zeros.
template <class T>
void pack_panels(MatrixView<const T> b, int64_t k0, int64_t kn, int64_t j0, int64_t jn, T* packed);

// Copies `rows` rows of a from i0, products k0 .. k0+kn, with the products outermost: item (i, p) at p * rows + i.
template <class T>
void pack_rows(MatrixView<const T> a, int64_t i0, int rows, int64_t k0, int64_t kn, T* packed);

// Whether reading an operand in place costs more than packing it.
template <class T>
bool pays_to_pack_rows(MatrixView<const T> a, int64_t cols);
template <class T>
bool pays_to_pack_panels(MatrixView<const T> b, int64_t rows);

// The product of one thread for a block of items whose packed operands fit its caches.
template <class T>
class BlockProduct {
  public:
    static constexpr int kRows = TileShape<T>::kRows, kCols = TileShape<T>::kCols;
    static constexpr size_t kScratchItems = kRows * kBlockK + kBlockK * kBlockN;

    BlockProduct(MatrixView<const T> a, MatrixView<const T> b, Range rows, Range cols, T* scratch, Team& team)
        : team_(team),
          a_(a),
          b_(b),
          rows_(rows),
          cols_(cols),
          is_column_(b.cols == 1 && b.row_stride == 1 && a.col_stride == 1),
          packs_a_(!is_column_ && pays_to_pack_rows(a, cols.end - cols.begin)),
          packs_b_(!is_column_ && pays_to_pack_panels(b, rows.end - rows.begin)),
          packed_a_(scratch),
          packed_b_(scratch + kRows * kBlockK) {}

    // Sums products k0 .. k1 of all items into c, whose item (i, j) is at c[i * stride + j], and calls
    // finish(tile) for each tile.
    template <class Finish>
    void sum(int64_t k0, int64_t k1, T* c, int64_t stride, bool accumulate, const Finish& finish) const {
        const int64_t kn = k1 - k0;
        if (packs_b_) pack_panels(b_, k0, kn, cols_.begin, cols_.end - cols_.begin, packed_b_);
        // Tiles of equal height: 32 rows are 11 + 11 + 10, not 14 + 14 + 4.
        const int64_t height = rows_.end - rows_.begin, tiles = (height + kRows - 1) / kRows;
        for (int64_t t = 0; t < tiles; ++t) {
            team_.checkpoint();
            const int64_t i0 = rows_.begin + height * t / tiles;
            const int tile_rows = static_cast<int>(rows_.begin + height * (t + 1) / tiles - i0);
            const T* a_tile = a_.data + i0 * a_.row_stride + k0 * a_.col_stride;
            int64_t a_row = a_.row_stride, a_k = a_.col_stride;
            if (packs_a_) {
                pack_rows(a_, i0, tile_rows, k0, kn, packed_a_);
                a_tile = packed_a_, a_row = 1, a_k = tile_rows;
            }
            for (int64_t j0 = cols_.begin; j0 < cols_.end; j0 += kCols) {
                const int tile_cols = static_cast<int>(cols_.end - j0 < kCols ? cols_.end - j0 : kCols);
                const T* b_tile = packs_b_ ? packed_b_ + (j0 - cols_.begin) * kn : b_.data + k0 * b_.row_stride + j0;
                const Tile<T> tile{c + i0 * stride + j0, stride, i0, tile_rows, j0, tile_cols};
                if (is_column_)
                    multiply_column(tile_rows, kn, a_tile, a_row, b_tile, tile.data, stride, accumulate);
                else
                    multiply_tile(tile_rows, tile_cols, kn, a_tile, a_row, a_k, b_tile,
                                  packs_b_ ? kCols : b_.row_stride, tile.data, stride, accumulate);
                finish(tile);
            }
        }
    }

  private:
    Team& team_;
    MatrixView<const T> a_, b_;
    Range rows_, cols_;
    bool is_column_;  // whether b is a single column and the rows of a are contiguous
    bool packs_a_, packs_b_;
    T *packed_a_, *packed_b_;
};

// Calls f(rows, cols) for blocks of at most max_rows x kBlockN items.
template <class F>
STEEPEST_HD void for_each_block(Range rows, Range cols, int64_t max_rows, F&& f) {
    for (int64_t j0 = cols.begin; j0 < cols.end; j0 += kBlockN) {
        const int64_t j1 = cols.end - j0 < kBlockN ? cols.end : j0 + kBlockN;
        for (int64_t i0 = rows.begin; i0 < rows.end;) {
            const int64_t i1 = rows.end - i0 < max_rows ? rows.end : i0 + max_rows;
            f(Range{i0, i1}, Range{j0, j1});
            i0 = i1;
        }
    }
}

// Sums all blocks of k one after the other: in c itself or, if its columns are strided, in a stage of kBlockM rows.
template <class T, class Epilogue>
void gemm_items(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, const Part& part,
                const Epilogue& epilogue, Team& team, bool accumulate) {
    const bool staged = c.col_stride != 1;
    const size_t items = BlockProduct<T>::kScratchItems + (staged ? kBlockM * kBlockN : 0);
    T* const scratch = static_cast<T*>(team.scratch(items * sizeof(T)));
    T* const stage = scratch + BlockProduct<T>::kScratchItems;
    const int64_t k = a.cols, blocks = blocks_of(k);
    for_each_block(part.rows, part.cols, staged ? kBlockM : part.rows.end, [&](Range rows, Range cols) {
        const BlockProduct<T> product(a, b, rows, cols, scratch, team);
        // Item (i, j) of the stage is at the same offset from `target` as item (i, j) of c from its data.
        T* const target = staged ? stage - rows.begin * kBlockN - cols.begin : c.data;
        const int64_t stride = staged ? kBlockN : c.row_stride;
        const auto for_each_staged = [&](auto&& f) {
            if (!staged) return;
            for (int64_t i = rows.begin; i < rows.end; ++i)
                for (int64_t j = cols.begin; j < cols.end; ++j) f(c(i, j), target[i * stride + j]);
        };
        if (accumulate) for_each_staged([](const T& item, T& copy) { copy = item; });
        for (int64_t block = 0; block < blocks; ++block) {
            product.sum(block_begin(k, block), block_begin(k, block + 1), target, stride, accumulate || block > 0,
                        [&](const Tile<T>& tile) {
                            if (block + 1 == blocks) epilogue(tile);
                        });
        }
        for_each_staged([](T& item, const T& result) { item = result; });
    });
}

// Each thread sums its own blocks of k. Then the team adds them in the order in which one thread would have.
template <class T, class Epilogue>
void gemm_partials(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, const Part& part,
                   const Epilogue& epilogue, Team& team, bool accumulate) {
    T* const scratch = static_cast<T*>(team.scratch(BlockProduct<T>::kScratchItems * sizeof(T)));
    T* const partials = static_cast<T*>(team.partials());
    const int64_t k = a.cols, blocks = blocks_of(k), n = c.cols;
    for (int64_t block = part.blocks.begin; block < part.blocks.end; ++block) {
        T* const target = block == 0 ? c.data : partials + (block - 1) * c.rows * n;
        for_each_block(part.rows, part.cols, part.rows.end, [&](Range rows, Range cols) {
            BlockProduct<T>(a, b, rows, cols, scratch, team)
                .sum(block_begin(k, block), block_begin(k, block + 1), target, block == 0 ? c.row_stride : n,
                     accumulate && block == 0, NoEpilogue());
        });
    }
    team.barrier();  // all partial products are written
    const Range rows = team.split(c.rows, 1);
    using V = Vec<T>;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
        for (int64_t j = 0; j < n; j += V::kSize) {
            const int lanes = static_cast<int>(n - j < V::kSize ? n - j : V::kSize);
            V sum = V::load(c.row(i) + j, lanes);
            for (int64_t block = 1; block < blocks; ++block)
                sum = V::load(partials + ((block - 1) * c.rows + i) * n + j, lanes) + sum;
            sum.store(c.row(i) + j, lanes);
        }
    }
    if (!rows.empty()) epilogue(Tile<T>{c.row(rows.begin), c.row_stride, rows.begin, rows.end - rows.begin, 0, n});
    team.barrier();  // all partial products are read: the next product may overwrite them
}

// c = a @ b, or c + a @ b, with the epilogue; all threads of the team call it.
template <class T, class Epilogue>
void gemm(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, const Epilogue& epilogue, Team& team,
          bool accumulate = false) {
    const Part part =
        part_of(a.rows, b.cols, a.cols, TileShape<T>::kRows, TileShape<T>::kCols, sizeof(T), c.col_stride == 1, team);
    const bool whole_k = part.blocks.begin == 0 && part.blocks.end == blocks_of(a.cols);
    if (!whole_k) return gemm_partials(a, b, c, part, epilogue, team, accumulate);
    if (!part.rows.empty() && !part.cols.empty()) gemm_items(a, b, c, part, epilogue, team, accumulate);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
