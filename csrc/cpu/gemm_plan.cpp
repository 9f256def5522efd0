#include "cpu/gemm_plan.h"

#include <type_traits>

#include "cpu/gemm_parts.h"
#include "cpu/gemm_tile.h"
#include "cpu/processors.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kSmallWeights = 512 << 10;  // bytes that every thread can read without waiting for memory

// Bytes of b from which a product of so many rows takes longer to read b than to multiply.
constexpr int64_t kLeastStreamed[kStreamedRows + 1] = {0, 64 << 10, 512 << 10, 1 << 20};
constexpr int64_t kDottedRows = 3;  // up to this many, columns of b are not worth being packed

int64_t divided(int64_t n, int64_t by) { return (n + by - 1) / by; }

// Divides the threads among rows, columns and blocks of k.
//
// With a small b the rows are divided among the threads: from layer to layer, a thread continues with the rows that it
// wrote itself. A product of a few rows with a large b is divided by blocks of k: each thread reads its own rows of the
// weights, which it also updates, and only the partial products move between caches. Other products are divided on the
// grid of threads that reads least: splitting by rows makes every thread read all of b, splitting by columns all of a.
void divide(ProductPlan& plan, int64_t m, int64_t n, int64_t k, int64_t item_bytes, bool may_split_k, int threads) {
    if (m == 0 || n == 0) return;
    const int64_t partial_bytes = (plan.blocks - 1) * m * n * item_bytes;
    if (may_split_k && plan.blocks > 1 && m <= kFewRows && partial_bytes <= static_cast<int64_t>(kPartialBytes)) {
        plan.deep = static_cast<int>(threads < plan.blocks ? threads : plan.blocks);
        return;
    }
    if (k * n * item_bytes <= kSmallWeights && m >= 2 * threads) {
        plan.down = threads;
        return;
    }
    const int64_t most_down = divided(m, plan.tile_rows), most_across = divided(n, plan.tile_cols);
    double best_cost = -1;
    for (int across = 1; across <= threads && across <= most_across; ++across) {
        const int down = static_cast<int>(threads / across < most_down ? threads / across : most_down);
        // The products of the slowest thread, then the items that all threads read.
        const double tiles = 1.0 * divided(most_down, down) * divided(most_across, across);
        const double cost = tiles * plan.tile_rows * plan.tile_cols * k + 4.0 * k * (down * n + across * m);
        if (best_cost < 0 || cost < best_cost) best_cost = cost, plan.down = down, plan.across = across;
    }
}

// Whether panels that are read in place have to be fetched from beyond the second-level cache.
template <class T>
bool is_beyond_cache(const MatrixView<const T>& b) {
    return b.rows * b.cols * static_cast<int64_t>(sizeof(T)) > second_level_cache() / 2;
}

// The form decides in which order products are added, so it depends on the operands alone.
template <class T>
ProductForm form_of(MatrixView<const T> a, MatrixView<const T> b) {
    const bool is_column = b.cols == 1 && b.row_stride == 1;
    const bool has_columns = b.row_stride == 1 && b.col_stride != 1;  // contiguous ones
    if (a.col_stride == 1 && (is_column || (a.rows <= kDottedRows && has_columns))) return ProductForm::kDots;
    const bool streams = a.rows <= kStreamedRows && b.col_stride == 1 &&
                         b.rows * b.cols * static_cast<int64_t>(sizeof(T)) > kLeastStreamed[a.rows];
    return streams ? ProductForm::kStream : ProductForm::kTiles;
}

}  // namespace

template <class T>
ProductPlan plan_of(MatrixView<const T> a, MatrixView<const T> b, Precision precision, bool may_split_k, int threads) {
    ProductPlan plan;
    plan.form = form_of(a, b);
    plan.blocks = blocks_of(a.cols);
    plan.tile_rows = TileShape<T>::kRows, plan.tile_cols = TileShape<T>::kCols;
    if constexpr (std::is_same_v<T, float>) {
        if (plan.form == ProductForm::kTiles) plan.parts = parts_of(precision, a.rows, b.cols, a.cols);
        if (plan.parts > 0) plan.tile_rows = bfloat16_unit()->rows, plan.tile_cols = kPanelCols;
    }
    if (threads > 1) divide(plan, a.rows, b.cols, a.cols, sizeof(T), may_split_k, threads);
    return plan;
}

template <class T>
Packing packing_of(MatrixView<const T> a, MatrixView<const T> b, const ProductPlan& plan, int64_t rows, int64_t cols) {
    if (plan.parts > 0) return {true, true, false};
    if (plan.form != ProductForm::kTiles) return {false, false, false};
    const bool packs_b = pays_to_pack_panels(b, rows);
    return {pays_to_pack_rows(a, cols), packs_b, !packs_b && is_beyond_cache(b)};
}

Part part_of(const ProductPlan& plan, int64_t m, int64_t n, int rank) {
    if (plan.deep > 1) {
        // Threads without a block must still come to the barrier.
        if (rank >= plan.deep) return {{0, m}, {0, n}, {plan.blocks, plan.blocks}};
        return {{0, m}, {0, n}, {plan.blocks * rank / plan.deep, plan.blocks * (rank + 1) / plan.deep}};
    }
    if (rank >= plan.down * plan.across) return {{m, m}, {n, n}, {0, plan.blocks}};
    const int64_t r = rank / plan.across, q = rank % plan.across, panels = divided(n, plan.tile_cols);
    const int64_t j0 = panels * q / plan.across * plan.tile_cols, j1 = panels * (q + 1) / plan.across * plan.tile_cols;
    return {{m * r / plan.down, m * (r + 1) / plan.down}, {j0, j1 < n ? j1 : n}, {0, plan.blocks}};
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

namespace {

template <class T>
Packing packing_of_first_block(const MatrixView<const T>& a, const MatrixView<const T>& b, const ProductPlan& plan) {
    const Part part = part_of(plan, a.rows, b.cols, 0);
    const int64_t cols = part.cols.end - part.cols.begin;
    return packing_of(a, b, plan, part.rows.end - part.rows.begin, cols < kBlockN ? cols : kBlockN);
}

}  // namespace

template <class T>
ExplainedProduct explained(MatrixView<const T> a, MatrixView<const T> b, Precision precision, int threads) {
    if (!pays_to_turn(a, b)) {
        const ProductPlan plan = plan_of(a, b, precision, true, threads);
        return {plan, packing_of_first_block(a, b, plan)};
    }
    // The columns of the turned result are strided, so threads do not divide the sums.
    const MatrixView<const T> left = b.transposed(), right = a.transposed();
    ProductPlan plan = plan_of(left, right, precision, false, threads);
    plan.turned = true;
    return {plan, packing_of_first_block(left, right, plan)};
}

#define STEEPEST_INSTANTIATE_PLAN(T)                                                               \
    template ProductPlan plan_of(MatrixView<const T>, MatrixView<const T>, Precision, bool, int);  \
    template bool pays_to_pack_rows(MatrixView<const T>, int64_t);                                 \
    template bool pays_to_pack_panels(MatrixView<const T>, int64_t);                               \
    template ExplainedProduct explained(MatrixView<const T>, MatrixView<const T>, Precision, int); \
    template Packing packing_of(MatrixView<const T>, MatrixView<const T>, const ProductPlan&, int64_t, int64_t);
STEEPEST_INSTANTIATE_PLAN(float)
STEEPEST_INSTANTIATE_PLAN(double)

}  // namespace STEEPEST_TARGET
}  // namespace steepest
