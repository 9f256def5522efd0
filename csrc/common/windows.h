// Windows that slide over the rows and columns of an image, as pooling places them: window o covers the items from
// o stride - padding on, as many as its size, of which only those within the image count.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace steepest {

// The windows along one axis.
struct WindowAxis {
    int64_t size = 1, stride = 1, padding = 0;

    STEEPEST_HD int64_t windows(int64_t extent) const {
        const int64_t room = extent + 2 * padding - size;
        return extent < 1 || room < 0 ? 0 : room / stride + 1;
    }
    STEEPEST_HD int64_t start(int64_t window) const { return window * stride - padding; }

    // The places in a window that lie within an axis of `extent` items: from first_place to end_place.
    STEEPEST_HD int64_t first_place(int64_t window) const { return start(window) < 0 ? -start(window) : 0; }
    STEEPEST_HD int64_t end_place(int64_t window, int64_t extent) const {
        return start(window) + size < extent ? size : extent - start(window);
    }

    // The windows, out of `count`, that contain an item: from first_window to end_window.
    STEEPEST_HD int64_t first_window(int64_t item) const {
        const int64_t behind = item + padding - size;  // a window that starts here ends before the item
        return behind < 0 ? 0 : behind / stride + 1;
    }
    STEEPEST_HD int64_t end_window(int64_t item, int64_t count) const {
        const int64_t end = (item + padding) / stride + 1;
        return end < count ? end : count;
    }

    // The number of items by which a mean over a window divides, along this axis. No window reaches beyond the padding.
    STEEPEST_HD int64_t counted(int64_t window, int64_t extent, bool padding_counts) const {
        return padding_counts ? size : end_place(window, extent) - first_place(window);
    }

    // Whether every item lies in exactly one window, wholly within the image.
    STEEPEST_HD bool tiles(int64_t extent) const { return size == stride && padding == 0 && extent % size == 0; }
    STEEPEST_HD bool overlap() const { return stride < size; }
};

struct Windows {
    WindowAxis rows, columns;

    STEEPEST_HD bool overlap() const { return rows.overlap() || columns.overlap(); }
};

}  // namespace steepest
