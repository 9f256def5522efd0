// The lines of convolutions: places of a window, and its taps.
#pragma once

#include "cuda/convolution_product.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// A step from one of `count` pixels to the next. Where there is no next one, it may be longer than any image.
inline Spot step_over(int64_t count, int64_t offset, int64_t rows, int64_t columns) {
    if (count <= 1) return {};
    return {offset, static_cast<int32_t>(rows), static_cast<int32_t>(columns)};
}

// The pixel of x that the first tap of each output's window reads.
template <class X, class Y>
Line<Spot> places_over(const TensorView<X>& x, const Taps& window, const TensorView<Y>& out) {
    const TapAxis &down = window.rows, &across = window.columns;
    Line<Spot> line;
    for (int d = 0; d < 3; ++d) line.extent[d] = out.extent[d];
    line.start = {down.first(0) * x.stride[1] + across.first(0) * x.stride[2], static_cast<int32_t>(down.first(0)),
                  static_cast<int32_t>(across.first(0))};
    line.step[0] = {x.stride[0], 0, 0};
    line.step[1] = step_over(out.extent[1], down.stride * x.stride[1], down.stride, 0);
    line.step[2] = step_over(out.extent[2], across.stride * x.stride[2], 0, across.stride);
    return line;
}

// From the pixel of the first tap to those of the others, and to their channels.
template <class X>
Line<Spot> taps_over(const TensorView<X>& x, const Taps& window, int64_t channels) {
    const TapAxis &down = window.rows, &across = window.columns;
    Line<Spot> line;
    line.extent[0] = down.size, line.extent[1] = across.size, line.extent[2] = channels;
    line.step[0] = step_over(down.size, down.dilation * x.stride[1], down.dilation, 0);
    line.step[1] = step_over(across.size, across.dilation * x.stride[2], 0, across.dilation);
    line.step[2] = {x.stride[3], 0, 0};
    return line;
}

// The weights of all taps, whose channels are `stride` items apart.
template <class W>
Line<int64_t> taps_of_weight(const TensorView<W>& weight, int64_t stride, int64_t channels) {
    return {{weight.extent[0], weight.extent[1], channels}, 0, {weight.stride[0], weight.stride[1], stride}};
}

// The pixels of an image.
template <class Y>
Line<int64_t> places_of(const TensorView<Y>& y) {
    return {{y.extent[0], y.extent[1], y.extent[2]}, 0, {y.stride[0], y.stride[1], y.stride[2]}};
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
