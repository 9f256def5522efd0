// The matrix product behind all linear operations: c = a @ b, then an epilogue on each finished tile.
//
// Rows of b are read as vectors and items of a are broadcast, so row-major operands are read in place. An operand is
// packed only if its strides require it, or if it is reused often enough to pay for the copy.
//
// Every item is summed in an order that follows from the operands' shapes and strides: equal blocks of k, of at most
// kBlockK, one after the other; within a block the order follows from the form of the product. It does not depend on the
// tile, the packing and the number of threads, and so results are bit-identical for any number of threads.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/views.h"
#include "cpu/gemm_pack.h"
#include "cpu/gemm_parts.h"
#include "cpu/gemm_plan.h"
#include "cpu/gemm_tile.h"
#include "cpu/rows.h"
#include "cpu/team.h"
#include "cpu/tile.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The product of one thread for a block of items whose packed operands fit its caches.
template <class T>
class BlockProduct {
  public:
    static constexpr int kRows = TileShape<T>::kRows, kCols = TileShape<T>::kCols;
    static constexpr int64_t kPackedRows = RowTiles::kMost * kRows * kBlockK + kPackedRowsEnd<T>;
    static constexpr size_t kScratchItems = kPackedRows + kBlockK * kBlockN;
    // The columns of a block; rows of c that are streamed stay in the L1 cache. A part has half the bytes of an item.
    static constexpr int64_t most_cols(const ProductPlan& plan) {
        return plan.form == ProductForm::kStream ? 2048 : plan.parts == 1 ? 2 * kBlockN : kBlockN;
    }
    // The rows of a block; those of inner products stay in the L1 cache for the epilogue.
    static constexpr int64_t most_rows(ProductForm form, int64_t all) { return form == ProductForm::kDots ? 256 : all; }

    BlockProduct(MatrixView<const T> a, MatrixView<const T> b, const ProductPlan& plan, Range rows, Range cols,
                 T* scratch, Team& team)
        : team_(team),
          a_(a),
          b_(b),
          rows_(rows),
          cols_(cols),
          form_(plan.form),
          parts_(plan.parts),
          packs_(packing_of(a, b, plan, rows.end - rows.begin, cols.end - cols.begin)),
          packed_a_(scratch),
          packed_b_(scratch + kPackedRows) {}

    // Sums products k0 .. k1 of all items into c, whose item (i, j) is at c[i * stride + j], and calls finish(tile) for
    // tiles that cover the block.
    template <class Finish>
    void sum(int64_t k0, int64_t k1, T* c, int64_t stride, bool accumulate, const Finish& finish) const {
        if constexpr (std::is_same_v<T, float>)
            if (parts_ > 0) return sum_parts(k0, k1 - k0, c, stride, accumulate, finish);
        if (form_ == ProductForm::kTiles) return sum_tiles(k0, k1 - k0, c, stride, accumulate, finish);
        team_.checkpoint();
        if (form_ == ProductForm::kDots)
            put_dots(k0, k1 - k0, c, stride, accumulate);
        else
            put_streamed(k0, k1 - k0, c, stride, accumulate);
        finish(Tile<T>{c + rows_.begin * stride + cols_.begin, stride, rows_.begin, rows_.end - rows_.begin,
                       cols_.begin, cols_.end - cols_.begin});
    }

  private:
    template <class Finish>
    void sum_tiles(int64_t k0, int64_t kn, T* c, int64_t stride, bool accumulate, const Finish& finish) const {
        if (packs_.b) pack_panels(b_, k0, kn, cols_.begin, cols_.end - cols_.begin, packed_b_);
        // Tiles of equal height: 32 rows are 11 + 11 + 10, not 14 + 14 + 4.
        const int64_t height = rows_.end - rows_.begin, tiles = (height + kRows - 1) / kRows;
        const auto first = [&](int64_t t) { return rows_.begin + height * t / tiles; };
        if (packs_.a && a_.row_stride == 1) {
            for (int64_t t0 = 0; t0 < tiles; t0 += RowTiles::kMost) {
                RowTiles group;
                group.count = static_cast<int>(tiles - t0 < RowTiles::kMost ? tiles - t0 : RowTiles::kMost);
                for (int t = 0; t <= group.count; ++t) group.first[t] = first(t0 + t);
                pack_tiles(a_, group, k0, kn, packed_a_);
                for (int t = 0; t < group.count; ++t)
                    sum_row(k0, kn, group.first[t], group.rows(t), packed_a_ + group.offset(t) * kn, 1, group.rows(t),
                            c, stride, accumulate, finish);
            }
            return;
        }
        for (int64_t t = 0, i0 = first(0); t < tiles; ++t) {
            const int64_t i1 = first(t + 1);
            const int rows = static_cast<int>(i1 - i0);
            if (packs_.a) pack_rows(a_, i0, rows, k0, kn, packed_a_);
            sum_row(k0, kn, i0, rows, packs_.a ? packed_a_ : &a_(i0, k0), packs_.a ? 1 : a_.row_stride,
                    packs_.a ? rows : a_.col_stride, c, stride, accumulate, finish);
            i0 = i1;
        }
    }

    // A row of tiles; item (i, p) of its rows of a is at a[i * a_row + p * a_k].
    template <class Finish>
    STEEPEST_HD void sum_row(int64_t k0, int64_t kn, int64_t i0, int rows, const T* a, int64_t a_row, int64_t a_k, T* c,
                             int64_t stride, bool accumulate, const Finish& finish) const {
        team_.checkpoint();
        for (int64_t j0 = cols_.begin; j0 < cols_.end; j0 += kCols) {
            const int cols = static_cast<int>(cols_.end - j0 < kCols ? cols_.end - j0 : kCols);
            const T* const b = packs_.b ? packed_b_ + (j0 - cols_.begin) * kn : b_.data + k0 * b_.row_stride + j0;
            const Tile<T> tile{c + i0 * stride + j0, stride, i0, rows, j0, cols};
            multiply_tile(rows, cols, kn, a, a_row, a_k, b, packs_.b ? kCols : b_.row_stride, tile.data, stride,
                          accumulate, packs_.fetches_b);
            finish(tile);
        }
    }

    template <class Finish>
    void sum_parts(int64_t k0, int64_t kn, T* c, int64_t stride, bool accumulate, const Finish& finish) const {
        const PartsLayout layout(parts_, kn, cols_.end - cols_.begin);
        static_assert(kMostParts * sizeof(uint16_t) <= sizeof(float) && kBlockK % kDepthStep == 0 &&
                      kBlockN % kPanelCols == 0 && kMostPairRows * kBlockK <= kPackedRows);
        uint16_t* const left = reinterpret_cast<uint16_t*>(packed_a_);
        uint16_t* const right = reinterpret_cast<uint16_t*>(packed_b_);
        pack_right_parts(b_, k0, kn, cols_, layout, right);
        const Bfloat16Unit& unit = *bfloat16_unit();
        const int64_t height = rows_.end - rows_.begin, tiles = (height + unit.rows - 1) / unit.rows;
        const auto first = [&](int64_t t) {
            const int64_t steps = (height * t / tiles + unit.row_step - 1) / unit.row_step * unit.row_step;
            return rows_.begin + (steps < height ? steps : height);
        };
        for (int64_t t = 0; t < tiles; ++t) {
            team_.checkpoint();
            const int64_t i0 = first(t);
            const int rows = static_cast<int>(first(t + 1) - i0);
            pack_left_parts(a_, i0, rows, k0, kn, layout, left);
            const Bfloat16Session session(unit);
            const uint16_t* panel = right;
            for (int64_t j0 = cols_.begin; j0 < cols_.end; j0 += kPanelCols, panel += layout.panel()) {
                const int cols = static_cast<int>(cols_.end - j0 < kPanelCols ? cols_.end - j0 : kPanelCols);
                const Tile<T> tile{c + i0 * stride + j0, stride, i0, rows, j0, cols};
                multiply_parts(unit, a_, b_, k0, kn, i0, rows, j0, cols, layout, left, panel, tile.data, stride,
                               accumulate);
                finish(tile);
            }
        }
    }

    void put_dots(int64_t k0, int64_t kn, T* c, int64_t stride, bool accumulate) const {
        const int rows = static_cast<int>(rows_.end - rows_.begin);
        if (b_.cols == 1)
            return multiply_column(rows, kn, &a_(rows_.begin, k0), a_.row_stride, &b_(k0, 0), c + rows_.begin * stride,
                                   stride, accumulate);
        // Eight columns of b at a time stay in the L1 cache for the next row of a.
        for (int64_t j = cols_.begin; j < cols_.end; j += 8) {
            const int cols = static_cast<int>(cols_.end - j < 8 ? cols_.end - j : 8);
            for (int64_t i = rows_.begin; i < rows_.end; ++i)
                multiply_column(cols, kn, &b_(k0, j), b_.col_stride, &a_(i, k0), c + i * stride + j, 1, accumulate);
        }
    }

    void put_streamed(int64_t k0, int64_t kn, T* c, int64_t stride, bool accumulate) const {
        const int rows = static_cast<int>(rows_.end - rows_.begin);
        const int64_t cols = cols_.end - cols_.begin;
        T* const to = c + rows_.begin * stride + cols_.begin;
        T* const sums = accumulate ? packed_b_ : to;
        const int64_t sums_stride = accumulate ? cols : stride;
        multiply_rows(rows, cols, kn, &a_(rows_.begin, k0), a_.row_stride, a_.col_stride, &b_(k0, cols_.begin),
                      b_.row_stride, sums, sums_stride);
        if (!accumulate) return;
        for (int i = 0; i < rows; ++i)
            for_each_vector<T>(0, cols, [=](int64_t j, int lanes) {
                T* const at = to + i * stride + j;
                (Vec<T>::load(sums + i * cols + j, lanes) + Vec<T>::load(at, lanes)).store(at, lanes);
            });
    }

    Team& team_;
    MatrixView<const T> a_, b_;
    Range rows_, cols_;
    ProductForm form_;
    int parts_;
    Packing packs_;
    T *packed_a_, *packed_b_;
};

// Calls f(rows, cols) for blocks of at most max_rows x max_cols items.
template <class F>
STEEPEST_HD void for_each_block(Range rows, Range cols, int64_t max_rows, int64_t max_cols, F&& f) {
    for (int64_t j0 = cols.begin; j0 < cols.end; j0 += max_cols) {
        const int64_t j1 = cols.end - j0 < max_cols ? cols.end : j0 + max_cols;
        for (int64_t i0 = rows.begin; i0 < rows.end;) {
            const int64_t i1 = rows.end - i0 < max_rows ? rows.end : i0 + max_rows;
            f(Range{i0, i1}, Range{j0, j1});
            i0 = i1;
        }
    }
}

// Sums all blocks of k one after the other: in c itself or, if its columns are strided, in a stage of kBlockM rows.
template <class T, class Epilogue>
void gemm_items(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, const ProductPlan& plan,
                const Part& part, const Epilogue& epilogue, Team& team, bool accumulate) {
    const bool staged = c.col_stride != 1;
    const size_t items = BlockProduct<T>::kScratchItems + (staged ? kBlockM * kBlockN : 0);
    T* const scratch = static_cast<T*>(team.scratch(items * sizeof(T)));
    T* const stage = scratch + BlockProduct<T>::kScratchItems;
    const int64_t k = a.cols, blocks = blocks_of(k);
    const int64_t most_rows = staged ? kBlockM : BlockProduct<T>::most_rows(plan.form, part.rows.end);
    const int64_t most_cols = staged ? kBlockN : BlockProduct<T>::most_cols(plan);
    for_each_block(part.rows, part.cols, most_rows, most_cols, [&](Range rows, Range cols) {
        const BlockProduct<T> product(a, b, plan, rows, cols, scratch, team);
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
void gemm_partials(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, const ProductPlan& plan,
                   const Part& part, const Epilogue& epilogue, Team& team, bool accumulate) {
    T* const scratch = static_cast<T*>(team.scratch(BlockProduct<T>::kScratchItems * sizeof(T)));
    T* const partials = static_cast<T*>(team.partials());
    const int64_t k = a.cols, blocks = blocks_of(k), n = c.cols;
    for (int64_t block = part.blocks.begin; block < part.blocks.end; ++block) {
        T* const target = block == 0 ? c.data : partials + (block - 1) * c.rows * n;
        for_each_block(part.rows, part.cols, part.rows.end, BlockProduct<T>::most_cols(plan),
                       [&](Range rows, Range cols) {
                           BlockProduct<T>(a, b, plan, rows, cols, scratch, team)
                               .sum(block_begin(k, block), block_begin(k, block + 1), target,
                                    block == 0 ? c.row_stride : n, accumulate && block == 0, NoEpilogue());
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
void gemm(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, Precision precision, const Epilogue& epilogue,
          Team& team, bool accumulate = false) {
    const ProductPlan plan = plan_of(a, b, precision, c.col_stride == 1, team.size());
    const Part part = part_of(plan, c.rows, c.cols, team.rank());
    if (plan.deep > 1) return gemm_partials(a, b, c, plan, part, epilogue, team, accumulate);
    if (!part.rows.empty() && !part.cols.empty()) gemm_items(a, b, c, plan, part, epilogue, team, accumulate);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
