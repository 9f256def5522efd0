// The Python functions of the losses; the pointwise ones are one function, driven by their registry. No arithmetic here.
#pragma once

#include "bindings/call.h"
#include "ops/all.h"

namespace steepest {

struct LossArrays {
    Array prediction, target, weight, loss, d_prediction;
};

template <class B>
const LossEntry& loss_named(const Call<B>& call, py::handle kind) {
    const std::string name = call.text("kind", kind);
    std::string known;
    for (const LossEntry& entry : kLosses) {
        if (name == entry.name) return entry;
        known.append(known.empty() ? "" : ", ").append(entry.name);
    }
    ops::reject(call.name(), "kind '", name, "' is not one of: ", known);
}

template <class B>
double loss_parameter(const Call<B>& call, const LossEntry& entry, py::handle given) {
    if (given.is_none()) return entry.standard;
    if (!entry.parameter) ops::reject(call.name(), "there is no parameter, but one was given");
    return call.number(entry.parameter, given);
}

// Whether the losses of a row's outputs are added up, and not averaged.
template <class B>
bool adds_outputs(const Call<B>& call, py::handle reduction) {
    const std::string name = call.text("reduction", reduction);
    if (name != "mean" && name != "sum") ops::reject(call.name(), "reduction '", name, "' is not one of: mean, sum");
    return name == "sum";
}

template <class B>
struct Losses {
    static py::tuple softmax_cross_entropy(py::handle logits_, py::handle labels_, py::handle weight_,
                                           py::handle ignore_label, py::handle loss_, py::handle d_logits_) {
        Call<B> call("softmax_cross_entropy");
        const Array logits = call.floats("logits", logits_, 2);
        Array labels = call.borrow("labels", labels_), targets;
        if (is_integer(labels.dtype)) {
            call.require_dims("labels", labels, 1);
        } else {
            targets = call.floats("labels", labels_, 2);
            labels = Array();
        }
        if (!ignore_label.is_none() && targets)
            ops::reject(call.name(), "ignore_label goes with class ids, but labels are probabilities");
        const Array weight = call.optional_floats("sample_weight", weight_, 1);
        const Array loss = call.output("loss", loss_, {}, DType::kFloat64);
        const Array d_logits = call.output("d_logits", d_logits_, logits.shape_vector());
        const auto ignored = ignored_label(call, ignore_label, labels);
        call.submit_float([&]<class T>() {
            return ops::SoftmaxCrossEntropy<T>{logits.matrix<const T>(),
                                               labels.integers(),
                                               targets.matrix<const T>(),
                                               weight.vector<const T>(),
                                               ignored.first,
                                               ignored.second,
                                               reinterpret_cast<double*>(loss.data),
                                               d_logits.matrix<T>()};
        });
        return py::make_tuple(loss.object, d_logits.object);
    }

    static py::tuple pointwise(py::handle kind, py::handle prediction_, py::handle target_, py::handle weight_,
                               py::handle parameter_, py::handle half_, py::handle reduction, py::handle loss_,
                               py::handle d_prediction_) {
        const LossEntry& entry = loss_named(Call<B>("pointwise_loss"), kind);
        Call<B> call(entry.name);
        const LossArrays a = loss_arrays(call, prediction_, target_, weight_, loss_, d_prediction_);
        const double parameter = loss_parameter(call, entry, parameter_);
        const bool half = call.flag("half", half_);
        const bool adds = adds_outputs(call, reduction);
        call.submit_float([&]<class T>() {
            return ops::PointwiseLoss<T>{a.prediction.matrix<const T>(),
                                         a.target.matrix<const T>(),
                                         a.weight.vector<const T>(),
                                         entry.kind,
                                         parameter,
                                         half ? 0.5 : 1.0,
                                         adds,
                                         reinterpret_cast<double*>(a.loss.data),
                                         a.d_prediction.matrix<T>()};
        });
        return py::make_tuple(a.loss.object, a.d_prediction.object);
    }

    static py::tuple gaussian(py::handle prediction_, py::handle target_, py::handle weight_, py::handle reduction,
                              py::handle loss_, py::handle d_prediction_) {
        Call<B> call("gaussian");
        const LossArrays a = loss_arrays(call, prediction_, target_, weight_, loss_, d_prediction_);
        const bool adds = adds_outputs(call, reduction);
        call.submit_float([&]<class T>() {
            return ops::GaussianLoss<T>{
                a.prediction.matrix<const T>(),         a.target.matrix<const T>(), a.weight.vector<const T>(), adds,
                reinterpret_cast<double*>(a.loss.data), a.d_prediction.matrix<T>()};
        });
        return py::make_tuple(a.loss.object, a.d_prediction.object);
    }

    static py::object zero_one_loss(py::handle scores_, py::handle labels_, py::handle ignore_label, py::handle out_) {
        Call<B> call("zero_one_loss");
        const Array scores = call.floats("scores", scores_, 2), labels = call.integers("labels", labels_);
        const Array out = call.output("out", out_, {}, DType::kFloat64);
        const auto ignored = ignored_label(call, ignore_label, labels);
        call.submit_float([&]<class T>() {
            return ops::ZeroOneLoss<T>{scores.matrix<const T>(), labels.integers(), ignored.first, ignored.second,
                                       reinterpret_cast<double*>(out.data)};
        });
        return out.object;
    }

  private:
    static LossArrays loss_arrays(Call<B>& call, py::handle prediction, py::handle target, py::handle weight,
                                  py::handle loss, py::handle d_prediction) {
        LossArrays a;
        a.prediction = call.floats("prediction", prediction, 2);
        a.target = call.floats("target", target, 2);
        a.weight = call.optional_floats("sample_weight", weight, 1);
        a.loss = call.output("loss", loss, {}, DType::kFloat64);
        a.d_prediction = call.output("d_prediction", d_prediction, a.prediction.shape_vector());
        return a;
    }

    // Unsigned labels of 2^63 and more are negative to a kernel, but none is the negative one that is to be ignored.
    static std::pair<bool, int64_t> ignored_label(Call<B>& call, py::handle label, const Array& labels) {
        if (label.is_none()) return {false, 0};
        const int64_t ignored = call.integer("ignore_label", label);
        return {ignored >= 0 || labels.dtype != DType::kUint64, ignored};
    }
};

// Name -> (distribution or None, name of the parameter or None, its default).
inline py::dict pointwise_losses() {
    py::dict losses;
    const auto text_or_none = [](const char* text) { return text ? py::object(py::str(text)) : py::none(); };
    for (const LossEntry& entry : kLosses)
        losses[entry.name] =
            py::make_tuple(text_or_none(entry.distribution), text_or_none(entry.parameter), entry.standard);
    return losses;
}

template <class B>
void export_losses(py::module_& m) {
    using py::arg;
    const py::none none;
    m.attr("POINTWISE_LOSSES") = pointwise_losses();
    m.def("pointwise_loss", &Losses<B>::pointwise, arg("kind"), arg("prediction"), arg("target"),
          arg("sample_weight") = none, arg("parameter") = none, arg("half") = false, arg("reduction") = "mean",
          arg("loss") = none, arg("d_prediction") = none);
    m.def("gaussian", &Losses<B>::gaussian, arg("prediction"), arg("target"), arg("sample_weight") = none,
          arg("reduction") = "mean", arg("loss") = none, arg("d_prediction") = none);
    m.def("softmax_cross_entropy", &Losses<B>::softmax_cross_entropy, arg("logits"), arg("labels"),
          arg("sample_weight") = none, arg("ignore_label") = none, arg("loss") = none, arg("d_logits") = none);
    m.def("zero_one_loss", &Losses<B>::zero_one_loss, arg("scores"), arg("labels"), arg("ignore_label") = none,
          arg("out") = none);
}

}  // namespace steepest
