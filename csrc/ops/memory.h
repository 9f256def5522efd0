// Where the items of an array lie in memory, and whether two arrays share an item.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

// A view of any kind as items along its axes, without those of a single item. What lies behind the last axis is not
// initialised: a call looks at the layouts of all its arrays.
struct Layout {
    uintptr_t first = 0;
    int64_t item_bytes = 0;  // 0 for a view without items
    int axes = 0;
    int64_t count[kMaxAxes], step[kMaxAxes];  // steps in bytes

    Layout() {}  // leaves the arrays as they are
    Layout(const void* items, int64_t bytes) : first(reinterpret_cast<uintptr_t>(items)), item_bytes(bytes) {}

    int64_t bytes() const {
        int64_t n = item_bytes;
        for (int d = 0; d < axes; ++d) n *= count[d];
        return n;
    }
    bool operator==(const Layout& other) const {
        if (first != other.first || item_bytes != other.item_bytes || axes != other.axes) return false;
        for (int d = 0; d < axes; ++d)
            if (count[d] != other.count[d] || step[d] != other.step[d]) return false;
        return true;
    }

    void add_axis(int64_t n, int64_t bytes) {
        if (n > 1) count[axes] = n, step[axes] = bytes, ++axes;
    }
};

template <class T>
Layout layout_of(const TensorView<T>& t) {
    constexpr int64_t kItem = sizeof(T);
    if (!t.data || t.size() == 0) return {};
    Layout layout(t.data, kItem);
    for (int d = 0; d < t.axes; ++d) layout.add_axis(t.extent[d], t.stride[d] * kItem);
    return layout;
}

template <class T>
Layout layout_of(const MatrixView<T>& m) {
    constexpr int64_t kItem = sizeof(T);
    if (!m.data || m.rows == 0 || m.cols == 0) return {};
    Layout layout(m.data, kItem);
    layout.add_axis(m.rows, m.row_stride * kItem), layout.add_axis(m.cols, m.col_stride * kItem);
    return layout;
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
    Layout layout(v.data, item_bytes(v.type));
    layout.add_axis(v.size, v.stride);
    return layout;
}

// The bytes from the first to the last item of a view, and how its items repeat within them: along axes in the order of
// their steps, the longest first.
struct MemoryRange {
    uintptr_t begin = 0, end = 0;
    bool repeats = false;  // whether items may overlap one another
    int axes = 0;
    int64_t pitch[kMaxAxes + 1];  // bytes from one place along an axis to the next, 0 behind the last axis
    int64_t width[kMaxAxes + 1];  // bytes from the first to the last item along the axes from this one on

    MemoryRange() {}  // leaves the arrays as they are

    bool empty() const { return begin == end; }
};

inline MemoryRange memory_range(const Layout& l) {
    MemoryRange range;
    if (l.item_bytes == 0) return range;
    int64_t low = 0, count[kMaxAxes];
    for (int d = 0; d < l.axes; ++d) {
        if (l.step[d] < 0) low += (l.count[d] - 1) * l.step[d];
        const int64_t pitch = magnitude(l.step[d]);
        int place = range.axes++;
        for (; place > 0 && range.pitch[place - 1] < pitch; --place)
            range.pitch[place] = range.pitch[place - 1], count[place] = count[place - 1];
        range.pitch[place] = pitch, count[place] = l.count[d];
    }
    int64_t width = l.item_bytes;
    range.pitch[range.axes] = 0, range.width[range.axes] = width;
    for (int i = range.axes - 1; i >= 0; --i) {
        range.repeats |= range.pitch[i] < width;
        width += (count[i] - 1) * range.pitch[i];
        range.width[i] = width;
    }
    range.begin = l.first + low, range.end = range.begin + width;
    return range;
}

// Whether items of a along its axes from i on may share a byte with those of b along its axes from j on, which begin
// `offset` bytes behind them.
inline bool overlap(const MemoryRange& a, int i, const MemoryRange& b, int j, int64_t offset) {
    if (offset >= a.width[i] || -offset >= b.width[j]) return false;
    const int64_t pitch = a.pitch[i] > b.pitch[j] ? a.pitch[i] : b.pitch[j];
    if (pitch == 0) return true;
    // What lies at one place of the longest step has to end before the next: then only neighbours can meet.
    if (a.pitch[i] == pitch) ++i;
    if (b.pitch[j] == pitch) ++j;
    if (a.width[i] > pitch || b.width[j] > pitch) return true;
    offset %= pitch;
    if (offset < 0) offset += pitch;
    return overlap(a, i, b, j, offset) || overlap(a, i, b, j, offset - pitch);
}

// Whether two ranges may share an item. Parts of one array do not where its axes tell them apart.
inline bool overlap(const MemoryRange& a, const MemoryRange& b) {
    if (a.empty() || b.empty() || a.end <= b.begin || b.end <= a.begin) return false;
    return overlap(a, 0, b, 0, static_cast<int64_t>(b.begin - a.begin));
}

}  // namespace steepest::ops
