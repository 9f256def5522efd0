// The mean of each window of images (n, h, w, c), and its gradient.
#pragma once

#include "ops/windows.h"

namespace steepest::ops {

// out = the sum over the window's items in the image, divided by their number, or by that of the places in the image and
// its padding.
template <class T>
struct AvgPool2d {
    static constexpr const char* kName = "avg_pool2d";
    TensorView<const T> x;  // (n, h, w, c)
    TensorView<T> out;      // (n, oh, ow, c)
    Windows windows;
    bool count_padding = false;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kWrite, "out", out);
    }

    void check() const { require_windows(kName, windows, "x", x.extent[1], x.extent[2]); }

    int64_t most_members() const { return most_members_for(x, out); }
    double flops() const { return places_of(windows, out); }
};

// d_x = the sum of d_y / count over the windows that contain the item, in the order of the windows.
template <class T>
struct AvgPool2dBackward {
    static constexpr const char* kName = "avg_pool2d_backward";
    TensorView<const T> d_y;  // (n, oh, ow, c)
    TensorView<T> d_x;        // (n, h, w, c)
    Windows windows;
    bool count_padding = false;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "d_y", d_y), v(kWrite, "d_x", d_x);
    }

    void check() const {
        require_windows(kName, windows, "d_x", d_x.extent[1], d_x.extent[2]);
        require_item_for_each_window(kName, windows, "d_y", d_y, "d_x", d_x);
    }

    int64_t most_members() const { return most_members_for(d_x, d_y); }
    double flops() const { return places_of(windows, d_y); }
};

}  // namespace steepest::ops
