// Arrays of any number of axes: broadcasting, and the fewest axes that describe several views of one shape. Both are
// done once, when an operation is made.
#pragma once

#include <utility>

#include "ops/contract.h"

namespace steepest::ops {

// From the caches a thread moves as many bytes in the time that it takes to wake another.
constexpr int64_t kBytesForThread = 512 << 10;

// `b` in the shape of `a` by NumPy's rules: axes that it lacks or has a single item along are walked with stride 0.
template <class T, class U>
TensorView<T> broadcast(const char* name, const char* b_name, const TensorView<T>& b, const char* a_name,
                        const TensorView<U>& a) {
    TensorView<T> view{b.data, a.axes};
    const int lacking = a.axes - b.axes;
    bool fits = lacking >= 0;
    for (int d = 0; fits && d < a.axes; ++d) {
        view.extent[d] = a.extent[d];
        if (d < lacking) continue;
        const int64_t extent = b.extent[d - lacking];
        fits = extent == a.extent[d] || extent == 1;
        view.stride[d] = extent == 1 ? 0 : b.stride[d - lacking];
    }
    if (!fits)
        reject(name, b_name, " has shape ", shape_of(b), ", which does not broadcast to the shape ", shape_of(a),
               " of ", a_name);
    return view;
}

// Views of one shape whose axes are joined where each view's items follow one another. Axes are ordered by the strides
// of the first view, the longest outermost, and walked upwards in its memory. Every view keeps at least one axis.
template <class First, class... Rest>
void join_axes(First& first, Rest&... rest) {
    const auto for_each = [&](auto&& f) { f(first), (f(rest), ...); };
    if (first.size() == 0) return for_each([](auto& view) { view.axes = 1, view.extent[0] = 0, view.stride[0] = 1; });

    int kept = 0;
    for (int d = 0; d < first.axes; ++d) {
        if (first.extent[d] == 1) continue;
        const bool downwards = first.stride[d] < 0;
        for_each([&](auto& view) {
            if (downwards) view.data += (view.extent[d] - 1) * view.stride[d], view.stride[d] = -view.stride[d];
            view.extent[kept] = view.extent[d], view.stride[kept] = view.stride[d];
        });
        for (int place = kept++; place > 0 && first.stride[place - 1] < first.stride[place]; --place)
            for_each([&](auto& view) {
                std::swap(view.extent[place - 1], view.extent[place]);
                std::swap(view.stride[place - 1], view.stride[place]);
            });
    }

    int axes = 0;  // those before are joined as far as they can be
    for (int d = 0; d < kept; ++d) {
        bool follows = axes > 0;
        for_each([&](auto& view) { follows = follows && view.stride[axes - 1] == view.extent[d] * view.stride[d]; });
        if (!follows) ++axes;
        for_each([&](auto& view) {
            view.extent[axes - 1] = follows ? view.extent[axes - 1] * view.extent[d] : view.extent[d];
            view.stride[axes - 1] = view.stride[d];
        });
    }
    for_each([&](auto& view) {
        if (axes == 0) view.extent[0] = view.stride[0] = 1;
        view.axes = axes > 0 ? axes : 1;
    });
}

}  // namespace steepest::ops
