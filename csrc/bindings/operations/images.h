// The Python functions that gather, convert and augment images. No arithmetic here.
#pragma once

#include "bindings/operations/pairs.h"
#include "bindings/operations/rows.h"

namespace steepest {

namespace arg {

// A number, or a tuple or list of one for each channel; no numbers for None.
inline auto channel_numbers(const char* name, const char* type, py::object standard) {
    return optional(name, type, std::move(standard), [](auto& call, const char* what, py::handle given) {
        std::vector<double> numbers;
        if (given.is_none()) return numbers;
        if (PyTuple_Check(given.ptr()) || PyList_Check(given.ptr()))
            for (const py::handle number : given) numbers.push_back(call.number(what, number));
        else
            numbers.push_back(call.number(what, given));
        if (numbers.empty() || numbers.size() > ops::kMostChannels)
            ops::reject(call.name(), what, " has ", numbers.size(), " numbers; it must have 1..", ops::kMostChannels);
        return numbers;
    });
}

}  // namespace arg

template <class T>
ops::ChannelNumbers<T> channel_numbers_of(const std::vector<double>& given, double standard) {
    ops::ChannelNumbers<T> numbers;
    numbers.count = given.empty() ? 1 : static_cast<int64_t>(given.size());
    numbers.number[0] = static_cast<T>(standard);
    for (size_t k = 0; k < given.size(); ++k) numbers.number[k] = static_cast<T>(given[k]);
    return numbers;
}

// Images (n, h, w, c), or (n, h, w) with one channel.
template <class T>
TensorView<T> images_of(const Array& array) {
    TensorView<T> view = array.tensor<T>();
    if (array.ndim == 3) view.axes = 4, view.extent[3] = 1, view.stride[3] = 1;
    return view;
}

template <class B>
void export_images(py::module_& m) {
    using arg::Pair, std::optional;

    define<B>(
        m,
        signature("take_images", "Array", arg::any_array("images"), arg::integers("rows"), arg::output("out"),
                  arg::keywords_only(), arg::start_or_array("start"),
                  arg::channel_numbers("scale", "float | Sequence[float] | None", py::none()),
                  arg::channel_numbers("offset", "float | Sequence[float]", py::float_(0.0)), arg::pair_or_none("crop"),
                  arg::pair("shift", 0), arg::flag("flip", false), arg::flag("flip_vertical", false),
                  arg::integer("cutout", 0), arg::number("fill", 0.0), arg::not_negative("mixup", 0.0),
                  arg::output("mix_weights"), arg::word_or_none("seed"), arg::word_or_array("stream", 0)),
        [](Call<B>& call, const Array& images, const Array& rows, const Output& out_, ScalarView<int64_t> start,
           const std::vector<double>& scale, const std::vector<double>& offset, const optional<Pair>& crop,
           const Pair& shift, bool flip, bool flip_vertical, int64_t cutout, double fill, double mixup,
           const Output& mix_weights, const optional<uint64_t>& seed, ScalarView<int64_t> stream) {
            const bool bytes = images.dtype == DType::kUint8;
            if (!bytes && !is_float(images.dtype))
                reject_type(call.name(), "images has dtype ", call.dtype_text(images),
                            "; uint8, float32 or float64 is needed");
            if (images.ndim != 3 && images.ndim != 4)
                ops::reject(call.name(), "images must be (n, h, w) or (n, h, w, c), but has shape ",
                            images.shape_text());
            std::vector<int64_t> shape = images.shape_vector();
            if (crop) shape[1] = crop->rows, shape[2] = crop->columns;
            if (shape[1] < 0 || shape[2] < 0) ops::reject(call.name(), "crop must not be negative");
            DType type = bytes ? DType::kFloat32 : images.dtype;
            if (out_.is_given()) {
                const Array given = call.borrow("out", out_.given);
                if (bytes && is_float(given.dtype)) type = given.dtype;
                shape[0] = given.ndim > 0 ? given.shape[0] : 0;
            } else {
                shape[0] = rows_from(call, rows, start);
            }
            const Array out = call.output(out_, shape, type);
            Array weights;
            if (mix_weights.is_given()) weights = call.output(mix_weights, {shape[0]}, type);
            const Augmentation rules{shift.rows, shift.columns, flip,   flip_vertical,
                                     cutout,     mixup,         !!seed, seed.value_or(0)};
            const auto submit = [&]<class T>(T) {
                call.submit(ops::TakeImages<T>{
                    bytes ? images_of<const uint8_t>(images) : TensorView<const uint8_t>(),
                    bytes ? TensorView<const T>() : images_of<const T>(images), rows.integers(), start,
                    images_of<T>(out), channel_numbers_of<T>(scale, bytes ? 1 / 255.0 : 1),
                    channel_numbers_of<T>(offset, 0), static_cast<T>(fill), rules, stream, weights.vector<T>()});
            };
            type == DType::kFloat32 ? submit(0.0F) : submit(0.0);
            return out.object;
        });

    define<B>(m, signature("mix_rows", "Array", arg::array("x"), arg::vector("weights"), arg::output("out")),
              [](Call<B>& call, const Array& x, const Array& weights, const Output& out_) {
                  if (x.ndim != 1 && x.ndim != 2)
                      ops::reject(call.name(), "x must be 1-D or 2-D, but has shape ", x.shape_text());
                  const Array out = call.output(out_, x.shape_vector());
                  const auto rows_of = [&]<class T>(const Array& a, T*) {
                      return a.ndim == 2 ? a.matrix<T>() : a.as_matrix<T>().transposed();
                  };
                  call.submit_float([&]<class T>() {
                      return ops::MixRows<T>{rows_of(x, static_cast<const T*>(nullptr)), weights.vector<const T>(),
                                             rows_of(out, static_cast<T*>(nullptr))};
                  });
                  return out.object;
              });
}

}  // namespace steepest
