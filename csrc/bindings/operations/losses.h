// The Python functions of the losses. One function, driven by the registry, serves all pointwise ones.
#pragma once

#include "bindings/operations/names.h"

namespace steepest {

template <class B>
double loss_parameter(const Call<B>& call, const LossEntry& entry, py::handle given) {
    if (given.is_none()) return entry.standard;
    if (!entry.parameter) ops::reject(call.name(), "this loss has no parameter, but one was given");
    return call.number(entry.parameter, given);
}

// Name -> (distribution or None, name of the parameter or None, its default).
inline py::dict pointwise_losses() {
    py::dict losses;
    const auto text_or_none = [](const char* text) { return text ? py::object(py::str(text)) : py::none(); };
    for (const LossEntry& entry : kLosses)
        losses[entry.name] =
            py::make_tuple(text_or_none(entry.distribution), text_or_none(entry.parameter), entry.standard);
    return losses;
}

// Whether a label is ignored, and which. A kernel sees unsigned labels from 2^63 on as negative; a negative label to
// ignore must not match them.
template <class B>
std::pair<bool, int64_t> ignored_label(const Call<B>& call, const Output& label, const Array& labels) {
    if (!label.is_given()) return {false, 0};
    const int64_t ignored = call.integer(label.what, label.given);
    return {ignored >= 0 || labels.dtype != DType::kUint64, ignored};
}

// Targets of a loss: 1-D class ids, or an array of floats. One of the two members is absent.
template <class B>
struct Targets {
    Array labels, targets;

    Targets(Call<B>& call, const char* what, py::handle given, int ndim) {
        labels = call.borrow(what, given);
        if (is_integer(labels.dtype)) {
            call.require_dims(what, labels, 1);
        } else {
            targets = call.floats(what, given, ndim);
            labels = Array();
        }
    }
};

namespace arg {

inline auto optional_integer(const char* name) {
    return optional(name, "int | None", py::none(),
                    [](auto&, const char* what, py::handle given) { return Output{what, given}; });
}

inline auto ignore_label() { return optional_integer("ignore_label"); }

// The row of a batch at which a part of it begins.
inline auto first_row() { return optional_integer("first"); }

// The parameter of a loss: `loss_parameter` reads it once the loss is known.
inline auto loss_parameter() { return as_given("parameter", "float | None", py::none()); }

// Errors of a pointwise loss start with the loss's own name.
inline auto own_loss() {
    return required("kind", "str", [](auto& call, const char* what, py::handle given) {
        const LossEntry entry = call.entry(what, given, kLosses);
        call.rename(entry.name);
        return entry;
    });
}

}  // namespace arg

template <class B>
void export_pointwise_losses(py::module_& m) {
    m.attr("POINTWISE_LOSSES") = pointwise_losses();

    define<B>(
        m,
        signature("pointwise_loss", "tuple[Float64Array, Array]", arg::own_loss(), arg::matrix("prediction"),
                  arg::matrix("target"), arg::optional_vector("sample_weight"), arg::loss_parameter(),
                  arg::flag("half", false), arg::reduction(), arg::output("loss", "Float64Array | None"),
                  arg::output("d_prediction")),
        [](Call<B>& call, const LossEntry& entry, const Array& prediction, const Array& target, const Array& weight,
           py::handle parameter_, bool half, bool adds, const Output& loss_, const Output& d_prediction_) {
            const double parameter = loss_parameter(call, entry, parameter_);
            const Array loss = call.output(loss_, {}, DType::kFloat64);
            const Array d_prediction = call.output(d_prediction_, prediction.shape_vector());
            call.submit_float([&]<class T>() {
                return ops::PointwiseLoss<T>{prediction.matrix<const T>(),
                                             target.matrix<const T>(),
                                             weight.vector<const T>(),
                                             entry.kind,
                                             parameter,
                                             half ? 0.5 : 1.0,
                                             adds,
                                             reinterpret_cast<double*>(loss.data),
                                             d_prediction.matrix<T>()};
            });
            return py::make_tuple(loss.object, d_prediction.object);
        });

    define<B>(
        m,
        signature("gaussian", "tuple[Float64Array, Array]", arg::matrix("prediction"), arg::matrix("target"),
                  arg::optional_vector("sample_weight"), arg::reduction(), arg::output("loss", "Float64Array | None"),
                  arg::output("d_prediction")),
        [](Call<B>& call, const Array& prediction, const Array& target, const Array& weight, bool adds,
           const Output& loss_, const Output& d_prediction_) {
            const Array loss = call.output(loss_, {}, DType::kFloat64);
            const Array d_prediction = call.output(d_prediction_, prediction.shape_vector());
            call.submit_float([&]<class T>() {
                return ops::GaussianLoss<T>{
                    prediction.matrix<const T>(),         target.matrix<const T>(), weight.vector<const T>(), adds,
                    reinterpret_cast<double*>(loss.data), d_prediction.matrix<T>()};
            });
            return py::make_tuple(loss.object, d_prediction.object);
        });
}

template <class B>
void export_class_losses(py::module_& m) {
    define<B>(m,
              signature("softmax_cross_entropy", "tuple[Float64Array, Array]", arg::matrix("logits"),
                        arg::as_given("labels", "Array"), arg::optional_vector("sample_weight"), arg::ignore_label(),
                        arg::output("loss", "Float64Array | None"), arg::output("d_logits"), arg::first_row()),
              [](Call<B>& call, const Array& logits, py::handle labels_, const Array& weight, const Output& ignore,
                 const Output& loss_, const Output& d_logits_, const Output& first_) {
                  const Targets<B> given(call, "labels", labels_, 2);
                  if (ignore.is_given() && given.targets)
                      ops::reject(call.name(), "ignore_label requires class ids, but labels are probabilities");
                  const int64_t first = first_.is_given() ? call.integer(first_.what, first_.given) : 0;
                  if (first_.is_given() && given.targets)
                      ops::reject(call.name(), "first requires class ids, but labels are probabilities");
                  if (first > 0 && !loss_.is_given())
                      ops::reject(call.name(), "first is ", first, ": pass the loss to add to");
                  const Array loss = call.output(loss_, {}, DType::kFloat64);
                  const Array d_logits = call.output(d_logits_, logits.shape_vector());
                  const auto ignored = ignored_label(call, ignore, given.labels);
                  call.submit_float([&]<class T>() {
                      return ops::SoftmaxCrossEntropy<T>{logits.matrix<const T>(),
                                                         given.labels.integers(),
                                                         given.targets.template matrix<const T>(),
                                                         weight.vector<const T>(),
                                                         ignored.first,
                                                         ignored.second,
                                                         reinterpret_cast<double*>(loss.data),
                                                         d_logits.matrix<T>(),
                                                         first_.is_given(),
                                                         first};
                  });
                  return py::make_tuple(loss.object, d_logits.object);
              });

    define<B>(m,
              signature("zero_one_loss", "Float64Array", arg::matrix("scores"), arg::integers("labels"),
                        arg::ignore_label(), arg::output("out", "Float64Array | None")),
              [](Call<B>& call, const Array& scores, const Array& labels, const Output& ignore, const Output& out) {
                  const Array rate = call.output(out, {}, DType::kFloat64);
                  const auto ignored = ignored_label(call, ignore, labels);
                  call.submit_float([&]<class T>() {
                      return ops::ZeroOneLoss<T>{scores.matrix<const T>(), labels.integers(), ignored.first,
                                                 ignored.second, reinterpret_cast<double*>(rate.data)};
                  });
                  return rate.object;
              });
}

}  // namespace steepest
