// The maximum of each window of images (n, h, w, c), its gradient, and its derivative along a direction.
#pragma once

#include "ops/windows.h"

namespace steepest::ops {

// A position in a window counts along its rows, and is stored in a byte.
constexpr int64_t kMostPositions = 256;

inline void require_few_positions(const char* name, const Windows& windows) {
    const int64_t h = windows.rows.size, w = windows.columns.size;
    require(h <= kMostPositions && w <= kMostPositions && h * w <= kMostPositions, name, "a window of ", h, " x ", w,
            " has more than ", kMostPositions, " positions");
}

// out = max over the window, and index = its position there: the first of several, or the first NaN.
template <class T>
struct MaxPool2d {
    static constexpr const char* kName = "max_pool2d";
    TensorView<const T> x;      // (n, h, w, c)
    TensorView<T> out;          // (n, oh, ow, c)
    TensorView<uint8_t> index;  // (n, oh, ow, c)
    Windows windows;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kWrite, "out", out), v(kWrite, "index", index);
    }

    void check() const {
        require_windows(kName, windows, "x", x.extent[1], x.extent[2]);
        require_few_positions(kName, windows);
    }

    int64_t most_members() const { return most_members_for(x, out); }
    double flops() const { return places_of(windows, out); }
};

// d_x = the sum of d_y over the windows whose maximum the item is, in the order of the windows.
template <class T>
struct MaxPool2dBackward {
    static constexpr const char* kName = "max_pool2d_backward";
    TensorView<const T> d_y;          // (n, oh, ow, c)
    TensorView<const uint8_t> index;  // (n, oh, ow, c)
    TensorView<T> d_x;                // (n, h, w, c)
    Windows windows;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "d_y", d_y), v(kRead, "index", index), v(kWrite, "d_x", d_x);
    }

    void check() const {
        require_windows(kName, windows, "d_x", d_x.extent[1], d_x.extent[2]);
        require_few_positions(kName, windows);
        require_item_for_each_window(kName, windows, "d_y", d_y, "d_x", d_x);
        require_item_for_each_window(kName, windows, "index", index, "d_x", d_x);
    }

    int64_t most_members() const { return most_members_for(d_x, d_y); }
    double flops() const { return places_of(windows, d_y); }
};

// out = dx at the position of each window's maximum.
template <class T>
struct MaxPool2dGather {
    static constexpr const char* kName = "max_pool2d_gather";
    TensorView<const T> dx;           // (n, h, w, c)
    TensorView<const uint8_t> index;  // (n, oh, ow, c)
    TensorView<T> out;                // (n, oh, ow, c)
    Windows windows;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "dx", dx), v(kRead, "index", index), v(kWrite, "out", out);
    }

    void check() const {
        require_windows(kName, windows, "dx", dx.extent[1], dx.extent[2]);
        require_few_positions(kName, windows);
        require_item_for_each_window(kName, windows, "index", index, "dx", dx);
    }

    int64_t most_members() const { return most_members_for(dx, out); }
    double flops() const { return places_of(windows, out); }
};

}  // namespace steepest::ops
