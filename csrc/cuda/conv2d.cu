#include "cuda/convolution_lines.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void launch(const ops::Conv2d<T>& op, Stream& stream) {
    if (op.out.size() == 0) return;
    const auto &x = op.x, &w = op.weight;
    const int64_t group_in = w.extent[2], group_out = w.extent[3] / op.groups;
    ConvolutionProduct<T> product;
    product.a = x.data, product.height = x.extent[1], product.width = x.extent[2],
    product.a_group = group_in * x.stride[3];
    product.b = w.data, product.b_stride = w.stride[3], product.b_group = group_out * w.stride[3];
    product.c = op.out.data, product.c_stride = op.out.stride[3];
    product.columns = group_out, product.groups = op.groups;
    product.epilogue.bias = op.bias, product.epilogue.activation = op.activation;
    product.lines.a_rows = places_over(x, op.window, op.out);
    product.lines.a_inner = taps_over(x, op.window, group_in);
    product.lines.b_inner = taps_of_weight(w, w.stride[2], group_in);
    product.lines.c_rows = places_of(op.out);
    convolution_product(product, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Conv2d)
