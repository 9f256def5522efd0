// Where items can be loaded and stored in vectors of 16 bytes.
#pragma once

#include "common/views.h"
#include "cuda/device/platform.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Whether every row begins with a vector of 16 bytes. An absent matrix is in nobody's way.
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

// Whether m is one run of items that vectors divide.
template <class T>
bool is_vector_run(const MatrixView<T>& m) {
    const bool run = m.col_stride == 1 && (m.rows <= 1 || m.row_stride == m.cols);
    return run && reinterpret_cast<uintptr_t>(m.data) % 16 == 0 && m.rows * m.cols % kVectorWidth<T> == 0;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
