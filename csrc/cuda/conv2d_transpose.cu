#include <numeric>

#include "cuda/convolution_lines.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T>
PhaseAxis phase_axis(const ops::Conv2dTranspose<T>& op, const TapAxis& window, int d) {
    PhaseAxis axis;
    axis.window = window, axis.outputs = op.out.extent[1 + d];
    axis.tap_step = window.stride / std::gcd(window.stride, window.dilation);
    axis.weight_stride = op.weight.stride[d];
    axis.c_stride = op.out.stride[1 + d];
    if (op.output) axis.beside_stride = op.output.stride[1 + d];
    return axis;
}

constexpr int64_t upwards(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The pixels of an image that a phase holds, at most.
template <class Y>
Line<int64_t> places_of_phase(const TensorView<Y>& y, int64_t down, int64_t across) {
    Line<int64_t> line = places_of(y);
    line.extent[1] = upwards(line.extent[1], down), line.step[1] *= down;
    line.extent[2] = upwards(line.extent[2], across), line.step[2] *= across;
    return line;
}

}  // namespace

// Each output sums over the taps that reach it.
template <class T>
void launch(const ops::Conv2dTranspose<T>& op, Stream& stream) {
    if (op.out.size() == 0) return;
    const auto &x = op.x, &w = op.weight;
    const int64_t group_in = w.extent[3] / op.groups, group_out = w.extent[2];
    ConvolutionProduct<T> product;
    product.a = x.data, product.height = x.extent[1], product.width = x.extent[2],
    product.a_group = group_in * x.stride[3];
    product.b = w.data, product.b_stride = w.stride[2], product.b_group = group_in * w.stride[3];
    product.c = op.out.data, product.c_stride = op.out.stride[3];
    product.columns = group_out, product.groups = op.groups;
    product.epilogue.bias = op.bias, product.epilogue.activation = op.activation;
    product.has_phases = true;
    product.down = phase_axis(op, op.window.rows, 0), product.across = phase_axis(op, op.window.columns, 1);
    const PhaseAxis &down = product.down, &across = product.across;
    const int64_t s = down.window.stride, q = across.window.stride;

    ProductLines& lines = product.lines;
    lines.c_rows = places_of_phase(op.out, s, q);
    if (op.output) {
        const TensorView<const T>& y = op.output;
        product.epilogue.output = {y.data, 0, 0, 1, y.stride[3]};
        lines.beside_rows = places_of_phase(y, s, q);
    }
    for (int d = 0; d < 3; ++d) lines.a_rows.extent[d] = lines.c_rows.extent[d];
    lines.a_rows.step[0] = {x.stride[0], 0, 0};
    lines.a_rows.step[1] = {x.stride[1], 1, 0}, lines.a_rows.step[2] = {x.stride[2], 0, 1};
    // The next tap of a phase reads a source before that of the last, without dilation the neighbour.
    const int64_t up = down.tap_step * down.window.dilation / s, left = across.tap_step * across.window.dilation / q;
    lines.a_inner.extent[0] = upwards(w.extent[0], down.tap_step);
    lines.a_inner.extent[1] = upwards(w.extent[1], across.tap_step);
    lines.a_inner.extent[2] = group_in;
    lines.a_inner.step[0] = step_over(lines.a_inner.extent[0], -up * x.stride[1], -up, 0);
    lines.a_inner.step[1] = step_over(lines.a_inner.extent[1], -left * x.stride[2], 0, -left);
    lines.a_inner.step[2] = {x.stride[3], 0, 0};
    lines.b_inner = taps_of_weight(w, w.stride[3], group_in);
    lines.b_inner.step[0] *= down.tap_step, lines.b_inner.step[1] *= across.tap_step;
    for (int d = 0; d < 2; ++d) lines.b_inner.extent[d] = lines.a_inner.extent[d];
    convolution_product(product, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Conv2dTranspose)
