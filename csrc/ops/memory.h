// Where the items of an array lie, and whether two arrays share one.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

// A view of any kind as a matrix of bytes. The step of an axis with fewer than two items is 0.
struct Layout {
    uintptr_t first = 0;
    int64_t rows = 0, cols = 0;
    int64_t row_step = 0, col_step = 0;
    int64_t item_bytes = 0;

    int64_t bytes() const { return rows * cols * item_bytes; }
    bool operator==(const Layout&) const = default;
};

template <class T>
Layout layout_of(const MatrixView<T>& m) {
    constexpr int64_t kItem = sizeof(T);
    if (!m.data || m.rows == 0 || m.cols == 0) return {};
    return {reinterpret_cast<uintptr_t>(m.data),   m.rows, m.cols, m.rows > 1 ? m.row_stride * kItem : 0,
            m.cols > 1 ? m.col_stride * kItem : 0, kItem};
}

template <class T>
Layout layout_of(const VectorView<T>& v) {
    return layout_of(MatrixView<T>{v.data, 1, v.size, 0, v.stride});
}

template <class T>
Layout layout_of(const ScalarView<T>& s) {
    return layout_of(MatrixView<const T>{s.data, 1, 1, 0, 1});
}

inline Layout layout_of(const IntegerVectorView& v) {
    if (!v.data || v.size == 0) return {};
    return {reinterpret_cast<uintptr_t>(v.data), 1, v.size, 0, v.size > 1 ? v.stride : 0, item_bytes(v.type)};
}

// The bytes from the first to the last item of a view, and how its rows repeat within them.
struct MemoryRange {
    uintptr_t begin = 0, end = 0;
    int64_t pitch = 0;     // bytes from row to row (or column to column), 0 for a single item
    int64_t width = 0;     // bytes from the first to the last item of one row (column)
    bool repeats = false;  // whether items may lie over one another

    bool empty() const { return begin == end; }
};

inline MemoryRange memory_range(const Layout& l) {
    if (l.bytes() == 0) return {};
    const int64_t down = (l.rows - 1) * l.row_step, right = (l.cols - 1) * l.col_step;
    const int64_t low = (down < 0 ? down : 0) + (right < 0 ? right : 0);
    const int64_t high = (down > 0 ? down : 0) + (right > 0 ? right : 0) + l.item_bytes;
    // The larger of the two steps is the pitch, in whichever order the matrix is stored.
    const int64_t row_step = magnitude(l.row_step), col_step = magnitude(l.col_step);
    const bool by_rows = row_step > col_step;
    const int64_t pitch = by_rows ? row_step : col_step, step = by_rows ? col_step : row_step;
    const int64_t outer = by_rows ? l.rows : l.cols, inner = by_rows ? l.cols : l.rows;
    const int64_t width = step * (inner - 1) + l.item_bytes;
    const bool repeats = (outer > 1 && pitch < width) || (inner > 1 && step < l.item_bytes);
    return {l.first + low, l.first + high, pitch, width, repeats};
}

// Whether two ranges may share an item. Columns of one matrix (equal pitch, disjoint within a row) do not.
inline bool overlap(const MemoryRange& a, const MemoryRange& b) {
    if (a.empty() || b.empty() || a.end <= b.begin || b.end <= a.begin) return false;
    const int64_t pitch = a.pitch ? a.pitch : b.pitch;
    if (pitch == 0 || (a.pitch && b.pitch && a.pitch != b.pitch)) return true;
    if (a.width > pitch || b.width > pitch) return true;
    int64_t offset = static_cast<int64_t>(b.begin - a.begin) % pitch;
    if (offset < 0) offset += pitch;
    return offset < a.width || offset + b.width > pitch;
}

}  // namespace steepest::ops
