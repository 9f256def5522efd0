// Conditions for loading and storing items in vectors of 16 bytes.
#pragma once

#include "common/views.h"
#include "cuda/device/platform.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Whether every row begins with a vector of 16 bytes. This is true for an absent matrix.
template <class T>
bool has_aligned_rows(const MatrixView<T>& m) {
    return !m || (m.col_stride == 1 && reinterpret_cast<uintptr_t>(m.data) % 16 == 0 &&
                  (m.rows == 1 || m.row_stride % kVectorWidth<T> == 0));
}

// Whether the rows can be read and written in vectors of 16 bytes.
template <class T>
bool has_vector_rows(const MatrixView<T>& m) {
    return !m || (has_aligned_rows(m) && m.cols % kVectorWidth<T> == 0);
}

// Whether m is contiguous, with a whole number of vectors.
template <class T>
bool is_vector_run(const MatrixView<T>& m) {
    const bool run = m.col_stride == 1 && (m.rows <= 1 || m.row_stride == m.cols);
    return run && reinterpret_cast<uintptr_t>(m.data) % 16 == 0 && m.rows * m.cols % kVectorWidth<T> == 0;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
