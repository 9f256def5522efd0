// How a matrix product is computed, and which part each thread computes: decided from the operands' shapes and strides.
#pragma once

#include <cstdint>

#include "common/precision.h"
#include "common/views.h"
#include "cpu/product_plan.h"
#include "cpu/simd/vec.h"
#include "cpu/team.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int64_t kBlockK = 512;  // maximum; with it the rows of a in a tile fill most of the L1 cache
constexpr int64_t kBlockN = 256;  // kBlockK x kBlockN items of b stay in the L2 cache
constexpr int64_t kBlockM = 128;  // rows of c that are staged if c has strided columns

constexpr int64_t kFewRows = 64;  // up to this many rows, a product costs less than moving the weights between caches

// The equal blocks that k is summed in; they depend on k alone.
STEEPEST_HD int64_t blocks_of(int64_t k) { return k <= kBlockK ? 1 : (k + kBlockK - 1) / kBlockK; }
STEEPEST_HD int64_t block_begin(int64_t k, int64_t block) { return k * block / blocks_of(k); }

// A part of the product: items (rows, cols), summed over some of the blocks of k.
struct Part {
    Range rows, cols, blocks;
};

// Whether vectors are fuller along the rows of c: b has fewer columns than a vector has lanes, and a is a transposed
// matrix with many columns in memory.
template <class T>
STEEPEST_HD bool pays_to_turn(const MatrixView<const T>& a, const MatrixView<const T>& b) {
    constexpr int64_t kSize = Vec<T>::kSize;
    return b.cols < kSize && b.cols > 0 && a.row_stride == 1 && a.col_stride != 1 && a.rows >= 2 * kSize;
}

// The plan of a product for a team of `threads`. With `may_split_k` threads may also divide the sums.
template <class T>
ProductPlan plan_of(MatrixView<const T> a, MatrixView<const T> b, Precision precision, bool may_split_k, int threads);

// The part of an (m, n) product that the thread of a rank computes.
Part part_of(const ProductPlan& plan, int64_t m, int64_t n, int rank);

// Whether reading an operand in place costs more than packing it, for a part of so many rows and columns.
template <class T>
bool pays_to_pack_rows(MatrixView<const T> a, int64_t cols);
template <class T>
bool pays_to_pack_panels(MatrixView<const T> b, int64_t rows);

// What is done with the operands of a block of so many rows and columns.
template <class T>
Packing packing_of(MatrixView<const T> a, MatrixView<const T> b, const ProductPlan& plan, int64_t rows, int64_t cols);

// The plan of a @ b into a new matrix, with the packing of its first block.
template <class T>
ExplainedProduct explained(MatrixView<const T> a, MatrixView<const T> b, Precision precision, int threads);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
