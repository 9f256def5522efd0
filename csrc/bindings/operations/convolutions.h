// The Python functions of convolutions. No arithmetic here.
#pragma once

#include <array>

#include "bindings/operations/names.h"
#include "bindings/operations/pairs.h"

namespace steepest {

// How many zeros surround an image, or "same": as many as an output for each stride of the image needs.
struct Padding {
    bool is_same = false;
    std::array<arg::Pair, 2> sides{};  // before and after the rows, and the columns
};

template <class B>
Padding padding_of(const Call<B>& call, const char* what, py::handle given) {
    Padding padding;
    if (PyUnicode_Check(given.ptr())) {
        const std::string name = call.text(what, given);
        if (name != "same" && name != "valid")
            ops::reject(call.name(), what, " '", name, "' is not one of: same, valid");
        padding.is_same = name == "same";
        return padding;
    }
    const bool has_sides =
        (PyTuple_Check(given.ptr()) || PyList_Check(given.ptr())) && py::len(given) == 2 &&
        (PyTuple_Check(py::object(given[py::int_(0)]).ptr()) || PyList_Check(py::object(given[py::int_(0)]).ptr()));
    if (has_sides) {
        for (int d = 0; d < 2; ++d) padding.sides[d] = arg::read_pair(call, what, py::object(given[py::int_(d)]));
    } else {
        const arg::Pair both = arg::read_pair(call, what, given);
        for (int d = 0; d < 2; ++d) padding.sides[d] = {both[d], both[d]};
    }
    for (const arg::Pair& side : padding.sides)
        if (side[0] < 0 || side[1] < 0) ops::reject(call.name(), what, " must not be negative");
    return padding;
}

namespace arg {

inline auto padding() {
    return optional("padding", "int | Sequence[int] | Sequence[Sequence[int]] | str", py::int_(0),
                    [](auto& call, const char* what, py::handle given) { return padding_of(call, what, given); });
}

}  // namespace arg

// The window of a weight array over an image of which `image` has the shape.
template <class B>
Taps window_over(const Call<B>& call, const Array& weight, const std::array<int64_t, 2>& image, const arg::Pair& stride,
                 const Padding& padding, const arg::Pair& dilation) {
    Taps window;
    TapAxis* const axes[2] = {&window.rows, &window.columns};
    for (int d = 0; d < 2; ++d) {
        const char* const along = d == 0 ? "rows" : "columns";
        if (stride[d] < 1 || dilation[d] < 1)
            ops::reject(call.name(), stride[d] < 1 ? "stride" : "dilation", " is ",
                        stride[d] < 1 ? stride[d] : dilation[d], " along the ", along, "; it must be at least 1");
        TapAxis& axis = *axes[d];
        axis.size = weight.shape[d], axis.stride = stride[d], axis.dilation = dilation[d];
        if (axis.size < 1) ops::reject(call.name(), "weight of shape ", weight.shape_text(), " has no taps");
        axis.before = padding.sides[d][0], axis.after = padding.sides[d][1];
        if (padding.is_same) {
            const int64_t outputs = (image[d] + stride[d] - 1) / stride[d];
            const int64_t lacking = (outputs - 1) * stride[d] + axis.extent() - image[d];
            axis.before = lacking > 0 ? lacking / 2 : 0, axis.after = lacking > 0 ? lacking - lacking / 2 : 0;
        }
        if (axis.outputs(image[d]) < 1)
            ops::reject(call.name(), "an image of ", image[d], " ", along, " and ", axis.before, " + ", axis.after,
                        " of padding has no place for a window that covers ", axis.extent());
    }
    return window;
}

template <class B>
void require_channels(const Call<B>& call, const Array& x, const Array& weight) {
    if (x.shape[3] < 1 || weight.shape[3] < 1)
        ops::reject(call.name(), "images need channels, but x has shape ", x.shape_text(), " and weight has shape ",
                    weight.shape_text());
}

template <class B>
void export_convolutions(py::module_& m) {
    define<B>(m,
              signature("conv2d", "Array", arg::array("x", 4), arg::array("weight", 4), arg::optional_vector("bias"),
                        arg::activation("identity"), arg::output("out"), arg::keywords_only(), arg::pair("stride", 1),
                        arg::padding(), arg::pair("dilation", 1), arg::integer("groups", 1)),
              [](Call<B>& call, const Array& x, const Array& weight, const Array& bias, Activation activation,
                 const Output& out, const arg::Pair& stride, const Padding& padding, const arg::Pair& dilation,
                 int64_t groups) {
                  require_channels(call, x, weight);
                  const Taps window = window_over(call, weight, {x.shape[1], x.shape[2]}, stride, padding, dilation);
                  const Array y = call.output(out, {x.shape[0], window.rows.outputs(x.shape[1]),
                                                    window.columns.outputs(x.shape[2]), weight.shape[3]});
                  call.submit_float([&]<class T>() {
                      return ops::Conv2d<T>{x.tensor<const T>(),
                                            weight.tensor<const T>(),
                                            bias.vector<const T>(),
                                            y.tensor<T>(),
                                            window,
                                            groups,
                                            activation};
                  });
                  return y.object;
              });

    define<B>(m,
              signature("conv2d_transpose", "Array", arg::array("x", 4), arg::array("weight", 4),
                        arg::optional_vector("bias"), arg::activation("identity"), arg::output("out"),
                        arg::keywords_only(), arg::pair("stride", 1), arg::padding(), arg::pair("output_padding", 0),
                        arg::pair("dilation", 1), arg::integer("groups", 1)),
              [](Call<B>& call, const Array& x, const Array& weight, const Array& bias, Activation activation,
                 const Output& out, const arg::Pair& stride, const Padding& padding, const arg::Pair& output_padding,
                 const arg::Pair& dilation, int64_t groups) {
                  require_channels(call, x, weight);
                  if (groups < 1) ops::reject(call.name(), "groups is ", groups, "; it must be at least 1");
                  std::array<int64_t, 2> image{};
                  if (output_padding.rows < 0 || output_padding.columns < 0)
                      ops::reject(call.name(), "output_padding must not be negative");
                  for (int d = 0; d < 2; ++d) {
                      const int64_t extent = (weight.shape[d] - 1) * dilation[d] + 1;
                      const int64_t around = padding.sides[d][0] + padding.sides[d][1];
                      image[d] = padding.is_same
                                     ? x.shape[1 + d] * stride[d]
                                     : (x.shape[1 + d] - 1) * stride[d] + extent - around + output_padding[d];
                      if (image[d] < 1)
                          ops::reject(call.name(), "padding of ", padding.sides[d][0], " + ", padding.sides[d][1],
                                      " leaves nothing of ", x.shape[1 + d], d == 0 ? " rows" : " columns");
                  }
                  const Taps window = window_over(call, weight, image, stride, padding, dilation);
                  const Array y = call.output(out, {x.shape[0], image[0], image[1], weight.shape[2] * groups});
                  call.submit_float([&]<class T>() {
                      return ops::Conv2dTranspose<T>{x.tensor<const T>(),
                                                     weight.tensor<const T>(),
                                                     bias.vector<const T>(),
                                                     TensorView<const T>{},
                                                     y.tensor<T>(),
                                                     window,
                                                     groups,
                                                     activation};
                  });
                  return y.object;
              });

    define<B>(
        m,
        signature("conv2d_backward", "tuple[Array | None, Array, Array]", arg::array("d_out", 4), arg::array("x", 4),
                  arg::array("weight", 4), arg::keywords_only(), arg::activation("identity"),
                  arg::not_negative("l2", 0.0), arg::flag("input_grad", true), arg::output("d_x"),
                  arg::output("d_weight"), arg::output("d_bias"), arg::flag("accumulate", false),
                  arg::pair("stride", 1), arg::padding(), arg::pair("dilation", 1), arg::integer("groups", 1)),
        [](Call<B>& call, const Array& d_out, const Array& x, const Array& weight, Activation activation, double l2,
           bool input_grad, const Output& d_x_, const Output& d_weight_, const Output& d_bias_, bool accumulate,
           const arg::Pair& stride, const Padding& padding, const arg::Pair& dilation, int64_t groups) {
            require_channels(call, x, weight);
            if (accumulate && (!d_weight_.is_given() || !d_bias_.is_given()))
                reject_type(call.name(), "accumulate=True requires d_weight and d_bias");
            const Taps window = window_over(call, weight, {x.shape[1], x.shape[2]}, stride, padding, dilation);
            const Array d_weight = call.output(d_weight_, weight.shape_vector());
            const Array d_bias = call.output(d_bias_, {weight.shape[3]});
            const Array d_x = input_grad ? call.output(d_x_, x.shape_vector()) : Array();
            call.for_dtype([&]<class T>() {
                const TensorView<const T> gradient = d_out.tensor<const T>(), image = x.tensor<const T>();
                const TensorView<const T> weights = weight.tensor<const T>();
                const TensorView<T> of_image = input_grad ? d_x.tensor<T>() : TensorView<T>{};
                // Before anything is written.
                call.require_valid(ops::Conv2dBackward<T>{gradient, image, weights, of_image, d_weight.tensor<T>(),
                                                          d_bias.vector<T>(), window, groups, activation, accumulate});
                ops::Conv2dWeightGradient<T> op{
                    gradient, image, weights,   d_weight.tensor<T>(), d_bias.vector<T>(), {}, window,
                    groups,   l2,    accumulate};
                if (const int64_t items = op.template workspace_items<B::kOnGpu>())
                    op.workspace = call.workspace(items).template vector<double>();
                call.submit(op);
                if (!input_grad) return;
                const TensorView<const T> output = activation.is_identity() ? TensorView<const T>{} : image;
                call.submit(
                    ops::Conv2dTranspose<T>{gradient, weights, {}, output, of_image, window, groups, activation});
            });
            return py::make_tuple(input_grad ? d_x.object : py::none(), d_weight.object, d_bias.object);
        });
}

}  // namespace steepest
