// The register tile of the matrix product.
#pragma once

#include <cstdint>

#include "cpu/simd/vec.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
struct TileShape {
    static constexpr int kRows = kTileRows;
    static constexpr int kCols = kTileVectors * Vec<T>::kSize;
};

// Places of a from which columns are read: `count` runs of k columns each, from `offset` items behind its beginning.
struct Segments {
    static constexpr int64_t kBeginning = 0;
    int64_t count = 1;
    const int64_t* offset = &kBeginning;
};

// c (rows, cols) = a (rows, k) @ b (k, cols), or c += a @ b, for 1 <= rows <= kRows and 1 <= cols <= kCols. Item (i, p)
// of a is at a[i * a_row + p * a_k]; the rows of b and c are contiguous, b_k and c_row items apart. With `prefetch` the
// next columns of b are brought into the second-level cache. With several segments, a has k columns in each of them, and
// b as many rows for all of them, one after the other.
template <class T>
void multiply_tile(int rows, int cols, int64_t k, const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k, T* c,
                   int64_t c_row, bool accumulate, bool prefetch = false, Segments segments = {});

constexpr int kStreamedRows = 3;

// The same product of 1 to kStreamedRows rows with any number of columns. Each item of b is read once, in the order of
// memory.
template <class T>
void multiply_rows(int rows, int64_t cols, int64_t k, const T* a, int64_t a_row, int64_t a_k, const T* b, int64_t b_k,
                   T* c, int64_t c_row);

// The same product for a single column of b, with contiguous rows of a, a_row items apart. Its vectors run along k,
// where they are full; along a column of c each would hold one item.
template <class T>
void multiply_column(int rows, int64_t k, const T* a, int64_t a_row, const T* b, T* c, int64_t c_row, bool accumulate);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
