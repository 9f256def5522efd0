// Operations item by item: this member's pieces of the rows of several views of one shape.
#pragma once

#include <utility>

#include "cpu/tensor_rows.h"
#include "cpu/vector_runs.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int64_t kGathered = 256;  // items of a strided row that are gathered at once

// Calls f(n, out, in...) for this member's pieces of rows, of at most `block` items: their number, and where they begin
// in each view.
template <class F, class T, class... In>
STEEPEST_HD void for_my_pieces(int64_t block, const Team& team, F&& f, const TensorView<T>& out, const In&... in) {
    const int last = out.axes - 1;
    CommonAxes<1 + sizeof...(In)> axes;
    for (int d = 0; d < last; ++d) axes.add(d, out, in...);
    for_my_rows(axes, out.extent[last], kRunGrain, block, team, [&](const auto& place, Range items) {
        [&]<size_t... I>(std::index_sequence<I...>) {
            f(items.end - items.begin, out.data + place.offset(0) + items.begin * out.stride[last],
              in.data + place.offset(1 + I) + items.begin * in.stride[last]...);
        }(std::index_sequence_for<In...>());
    });
}

template <class T>
STEEPEST_HD const T* gathered(const T* items, int64_t stride, int64_t n, T* buffer) {
    if (stride == 1) return items;
    for (int64_t j = 0; j < n; ++j) buffer[j] = items[j * stride];
    return buffer;
}

// Like for_my_pieces, for rows of any strides: f gets items that follow one another, and the results are then put into
// their places. What `out` holds is gathered as well if the formula reads it.
template <bool kReadsOut, class F, class T, class... In>
STEEPEST_HD void for_my_gathered_pieces(const Team& team, F&& f, const TensorView<T>& out, const In&... in) {
    const int last = out.axes - 1;
    const int64_t out_stride = out.stride[last];
    alignas(64) T buffer[1 + sizeof...(In)][kGathered];
    for_my_pieces(
        kGathered, team,
        [&](int64_t n, T* to, const auto*... from) {
            T* const result = out_stride == 1 ? to : buffer[0];
            if constexpr (kReadsOut) gathered<T>(to, out_stride, n, result);
            [&]<size_t... I>(std::index_sequence<I...>) {
                f(n, result, gathered<T>(from, in.stride[last], n, buffer[1 + I])...);
            }(std::index_sequence_for<In...>());
            if (result != to)
                for (int64_t j = 0; j < n; ++j) to[j * out_stride] = result[j];
        },
        out, in...);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
