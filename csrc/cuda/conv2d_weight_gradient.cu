#include "cuda/convolution_lines.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The product sums over the places of all images. The operation's workspace is for teams of threads: blocks that share
// a tile leave their sums in that of the stream.
template <class T>
void launch(const ops::Conv2dWeightGradient<T>& op, Stream& stream) {
    if (op.weight.size() == 0) return;
    const auto &x = op.x, &w = op.weight, &d = op.d_out;
    const int64_t group_in = w.extent[2], group_out = w.extent[3] / op.groups;
    ConvolutionProduct<T> product;
    product.a = x.data, product.height = x.extent[1], product.width = x.extent[2],
    product.a_group = group_in * x.stride[3];
    product.b = d.data, product.b_stride = d.stride[3], product.b_group = group_out * d.stride[3];
    product.c = op.d_weight.data, product.c_stride = op.d_weight.stride[3];
    product.columns = group_out, product.groups = op.groups;
    product.lines.a_rows = taps_over(x, op.window, group_in);
    product.lines.a_inner = places_over(x, op.window, d);
    product.lines.b_inner = places_of(d);
    product.lines.c_rows = taps_of_weight(op.d_weight, op.d_weight.stride[2], group_in);
    product.epilogue.accumulate = op.accumulate;
    if (op.l2 != 0) {
        product.epilogue.addend = {w.data, 0, 0, 1, w.stride[3]};
        product.epilogue.scale = static_cast<T>(op.l2);
        product.lines.beside_rows = taps_of_weight(w, w.stride[2], group_in);
    }
    product.b_sums = op.d_bias;
    convolution_product(product, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Conv2dWeightGradient)
