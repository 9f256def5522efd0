// What the operations on windows of images (n, h, w, c) require of their arrays.
#pragma once

#include "common/windows.h"
#include "ops/tensors.h"

namespace steepest::ops {

constexpr int64_t kLargestWindow = (int64_t{1} << 31) - 1;  // so that no sum with a padding overflows

inline void require_windows(const char* name, const Windows& windows, const char* image_name, int64_t h, int64_t w) {
    const WindowAxis &r = windows.rows, &c = windows.columns;
    const auto require_pair = [&](bool valid, const char* what, int64_t rows, int64_t columns, const char* rule) {
        require(valid, name, what, " is (", rows, ", ", columns, "); ", rule);
    };
    require_pair(r.size >= 1 && c.size >= 1, "size", r.size, c.size, "it must be at least 1");
    require_pair(r.size <= kLargestWindow && c.size <= kLargestWindow, "size", r.size, c.size,
                 "it must be less than 2**31");
    require_pair(r.stride >= 1 && c.stride >= 1, "stride", r.stride, c.stride, "it must be at least 1");
    require_pair(r.padding >= 0 && c.padding >= 0, "padding", r.padding, c.padding, "it must not be negative");
    // Every window then has an item of the image.
    require_pair(r.padding < r.size && c.padding < c.size, "padding", r.padding, c.padding,
                 "it must be less than the size of the window");
    if (r.windows(h) > 0 && c.windows(w) > 0) return;
    std::ostringstream padding;
    if (r.padding > 0 || c.padding > 0)
        padding << " with a padding of " << r.padding << " x " << c.padding;
    else
        padding << " without padding";
    reject(name, image_name, " of ", h, " x ", w, " has no place for a window of ", r.size, " x ", c.size,
           padding.str());
}

// Requires one item of `view` for each window and channel of an image.
template <class T, class U>
void require_item_for_each_window(const char* name, const Windows& windows, const char* what, const TensorView<T>& view,
                                  const char* image_name, const TensorView<U>& image) {
    const int64_t needed[] = {image.extent[0], windows.rows.windows(image.extent[1]),
                              windows.columns.windows(image.extent[2]), image.extent[3]};
    bool matches = true;
    for (int d = 0; d < 4; ++d) matches = matches && view.extent[d] == needed[d];
    if (matches) return;  // no text is made
    reject(name, what, " has shape ", shape_of(view), "; (", needed[0], ", ", needed[1], ", ", needed[2], ", ",
           needed[3], ") is needed for ", image_name, " of shape ", shape_of(image));
}

// The number of threads that are worth waking for windows over an image.
template <class T, class U>
int64_t most_members_for(const TensorView<T>& image, const TensorView<U>& pooled) {
    return (image.size() + pooled.size()) * static_cast<int64_t>(sizeof(T)) / kBytesForThread;
}

// The number of places in all windows.
template <class T>
double places_of(const Windows& windows, const TensorView<T>& pooled) {
    return 1.0 * windows.rows.size * windows.columns.size * pooled.size();
}

}  // namespace steepest::ops
