// The Python functions of pooling. No arithmetic here.
#pragma once

#include <optional>

#include "bindings/operations/pairs.h"
#include "ops/all.h"

namespace steepest {

namespace arg {

inline auto positions(const char* name) {
    return required(name, "Array", [](auto& call, const char* what, py::handle given) {
        Array array = call.borrow(what, given);
        if (array.dtype != DType::kUint8)
            reject_type(call.name(), what, " has dtype ", call.dtype_text(array), "; uint8 is needed");
        call.require_dims(what, array, 4);
        return array;
    });
}

}  // namespace arg

inline Windows windows_of(const arg::Pair& size, const std::optional<arg::Pair>& stride, const arg::Pair& padding) {
    const arg::Pair step = stride.value_or(size);
    return {{size.rows, step.rows, padding.rows}, {size.columns, step.columns, padding.columns}};
}

// The shape of an array with an item for each window of an image.
template <class B>
std::vector<int64_t> pooled_shape(const Call<B>& call, const Windows& windows, const char* what, const Array& image) {
    ops::require_windows(call.name(), windows, what, image.shape[1], image.shape[2]);
    return {image.shape[0], windows.rows.windows(image.shape[1]), windows.columns.windows(image.shape[2]),
            image.shape[3]};
}

template <class B>
void export_pooling(py::module_& m) {
    using arg::Pair, std::optional;

    define<B>(m,
              signature("max_pool2d", "tuple[Array, Array]", arg::array("x", 4), arg::pair("size"),
                        arg::pair_or_none("stride"), arg::pair("padding", 0), arg::output("out"), arg::output("index")),
              [](Call<B>& call, const Array& x, const Pair& size, const optional<Pair>& stride, const Pair& padding,
                 const Output& out, const Output& index_) {
                  const Windows windows = windows_of(size, stride, padding);
                  const auto shape = pooled_shape(call, windows, "x", x);
                  ops::require_few_positions(call.name(), windows);
                  const Array y = call.output(out, shape), index = call.output(index_, shape, DType::kUint8);
                  call.submit_float([&]<class T>() {
                      return ops::MaxPool2d<T>{x.tensor<const T>(), y.tensor<T>(), index.tensor<uint8_t>(), windows};
                  });
                  return py::make_tuple(y.object, index.object);
              });

    define<B>(m,
              signature("max_pool2d_backward", "Array", arg::array("d_y", 4), arg::positions("index"),
                        arg::pair("size"), arg::pair_or_none("stride"), arg::pair("padding", 0), arg::keywords_only(),
                        arg::changed_array("d_x", 4)),
              [](Call<B>& call, const Array& d_y, const Array& index, const Pair& size, const optional<Pair>& stride,
                 const Pair& padding, const Array& d_x) {
                  const Windows windows = windows_of(size, stride, padding);
                  call.submit_float([&]<class T>() {
                      return ops::MaxPool2dBackward<T>{d_y.tensor<const T>(), index.tensor<const uint8_t>(),
                                                       d_x.tensor<T>(), windows};
                  });
                  return d_x.object;
              });

    define<B>(m,
              signature("max_pool2d_gather", "Array", arg::array("dx", 4), arg::positions("index"), arg::pair("size"),
                        arg::pair_or_none("stride"), arg::pair("padding", 0), arg::output("out")),
              [](Call<B>& call, const Array& dx, const Array& index, const Pair& size, const optional<Pair>& stride,
                 const Pair& padding, const Output& out) {
                  const Windows windows = windows_of(size, stride, padding);
                  const Array y = call.output(out, pooled_shape(call, windows, "dx", dx));
                  call.submit_float([&]<class T>() {
                      return ops::MaxPool2dGather<T>{dx.tensor<const T>(), index.tensor<const uint8_t>(), y.tensor<T>(),
                                                     windows};
                  });
                  return y.object;
              });

    define<B>(
        m,
        signature("avg_pool2d", "Array", arg::array("x", 4), arg::pair("size"), arg::pair_or_none("stride"),
                  arg::pair("padding", 0), arg::output("out"), arg::keywords_only(), arg::flag("count_padding", false)),
        [](Call<B>& call, const Array& x, const Pair& size, const optional<Pair>& stride, const Pair& padding,
           const Output& out, bool count_padding) {
            const Windows windows = windows_of(size, stride, padding);
            const Array y = call.output(out, pooled_shape(call, windows, "x", x));
            call.submit_float([&]<class T>() {
                return ops::AvgPool2d<T>{x.tensor<const T>(), y.tensor<T>(), windows, count_padding};
            });
            return y.object;
        });

    define<B>(m,
              signature("avg_pool2d_backward", "Array", arg::array("d_y", 4), arg::pair("size"),
                        arg::pair_or_none("stride"), arg::pair("padding", 0), arg::keywords_only(),
                        arg::changed_array("d_x", 4), arg::flag("count_padding", false)),
              [](Call<B>& call, const Array& d_y, const Pair& size, const optional<Pair>& stride, const Pair& padding,
                 const Array& d_x, bool count_padding) {
                  const Windows windows = windows_of(size, stride, padding);
                  call.submit_float([&]<class T>() {
                      return ops::AvgPool2dBackward<T>{d_y.tensor<const T>(), d_x.tensor<T>(), windows, count_padding};
                  });
                  return d_x.object;
              });
}

}  // namespace steepest
