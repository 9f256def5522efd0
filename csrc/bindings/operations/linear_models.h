// The Python functions that train linear models with few outputs and any loss. No arithmetic here.
#pragma once

#include "bindings/operations/losses.h"

namespace steepest {

// Targets as a matrix; those of a single output may be a vector.
template <class T, class B>
MatrixView<T> as_columns(const Call<B>& call, const Array& a) {
    if (!a) return {};
    if (a.ndim == 2) return a.matrix<T>();
    call.require_dims("target", a, 1);
    return {reinterpret_cast<T*>(a.data), a.shape[0], 1, a.strides[0] / a.item_bytes, 1};
}

template <class B>
void export_linear_loss(py::module_& m) {
    define<B>(
        m,
        signature("linear_loss", "tuple[Float64Array, Array | None, Array | None]", arg::matrix("x"), arg::matrix("w"),
                  arg::vector_or_none("b"), arg::as_given("target", "Array"), arg::optional_vector("sample_weight"),
                  arg::keywords_only(), arg::as_given("kind", "str", py::str("log_loss")), arg::loss_parameter(),
                  arg::flag("half", false), arg::reduction(), arg::number("l2", 0.0), arg::flag("gradient", true),
                  arg::output("loss", "Float64Array | None"), arg::output("d_w"), arg::output("d_b")),
        [](Call<B>& call, const Array& x, const Array& w, const Array& b, py::handle target_, const Array& weight,
           py::handle kind, py::handle parameter_, bool half, bool adds, double l2, bool gradient, const Output& loss_,
           const Output& d_w_, const Output& d_b_) {
            const bool is_softmax = call.text("kind", kind) == ops::SoftmaxCrossEntropy<float>::kName;
            Array target, labels;
            if (is_softmax)
                labels = call.integers("target", target_);
            else
                target = call.floats("target", target_, -1);
            const LossEntry entry = is_softmax ? LossEntry{} : call.entry("kind", kind, kLosses);
            const double parameter = loss_parameter(call, entry, parameter_);
            if (half && is_softmax) ops::reject(call.name(), "half=True requires a pointwise loss");
            const Array loss = call.output(loss_, {}, DType::kFloat64);
            const Array d_w = gradient ? call.output(d_w_, w.shape_vector()) : Array();
            const Array d_b = gradient ? call.output(d_b_, {w.shape[1]}) : Array();
            call.submit_float([&]<class T>() {
                ops::LinearLoss<T> op;
                op.x = x.matrix<const T>(), op.w = w.matrix<const T>(), op.b = b.vector<const T>();
                op.target = as_columns<const T>(call, target), op.labels = labels.integers();
                op.sample_weight = weight.vector<const T>();
                op.kind = entry.kind, op.parameter = parameter, op.factor = half ? 0.5 : 1.0, op.adds_outputs = adds;
                op.l2 = l2, op.loss = reinterpret_cast<double*>(loss.data);
                op.d_w = d_w.matrix<T>(), op.d_b = d_b.vector<T>();
                op.check();
                op.workspace = call.workspace(op.template workspace_items<B::kOnGpu>()).template vector<double>();
                return op;
            });
            return py::make_tuple(loss.object, gradient ? d_w.object : py::none(), gradient ? d_b.object : py::none());
        });
}

template <class B>
void export_linear_sgd(py::module_& m) {
    define<B>(m,
              signature("linear_sgd", "Float64Array", arg::matrix("x"), arg::as_given("target", "Array"),
                        arg::changed_array("w", 2), arg::changed_array_or_none("b", 1), arg::counter("step"),
                        arg::keywords_only(), arg::number_or_array("lr"), arg::loss("kind", "log_loss"),
                        arg::loss_parameter(), arg::flag("half", false), arg::number("power", 0.0),
                        arg::number("t0", 0.0), arg::number("l1", 0.0), arg::number("l2", 0.0),
                        arg::integer("passive_aggressive", 0), arg::optional_vector("sample_weight"),
                        arg::optional_matrix("class_weight"), arg::optional_int64s("order"),
                        arg::optional_changed_array("l1_applied", 2), arg::output("l1_total", "Float64Array | None"),
                        arg::optional_changed_array("average_w", 2), arg::optional_changed_array("average_b", 1),
                        arg::integer("average_start", 1), arg::output("objective", "Float64Array | None")),
              [](Call<B>& call, const Array& x, py::handle target, const Array& w, const Array& b, int64_t* step,
                 ScalarView<double> lr, const LossEntry& loss, py::handle parameter_, bool half, double power,
                 double t0, double l1, double l2, int64_t passive_aggressive, const Array& weight,
                 const Array& class_weight, const Array& order, const Array& l1_applied, const Output& l1_total_,
                 const Array& average_w, const Array& average_b, int64_t average_start, const Output& objective_) {
                  const Targets<B> given(call, "target", target, -1);
                  const double parameter = loss_parameter(call, loss, parameter_);
                  if (passive_aggressive < 0 || passive_aggressive > 2)
                      ops::reject(call.name(), "passive_aggressive is ", passive_aggressive, "; it must be 0, 1 or 2");
                  const Array l1_total =
                      l1_total_.is_given() ? call.output(l1_total_, {w.shape[1]}, DType::kFloat64) : Array();
                  const Array objective = call.output(objective_, {w.shape[1]}, DType::kFloat64);
                  call.submit_float([&]<class T>() {
                      ops::LinearSgd<T> op;
                      op.x = x.matrix<const T>(), op.target = as_columns<const T>(call, given.targets);
                      op.labels = given.labels.integers();
                      op.sample_weight = weight.vector<const T>(), op.class_weight = class_weight.matrix<const T>();
                      op.order = order.vector<const int64_t>();
                      op.loss = loss.kind, op.parameter = parameter, op.loss_scale = half ? 0.5 : 1.0;
                      op.lr = lr, op.power = power, op.t0 = t0, op.l1 = l1, op.l2 = l2;
                      op.passive_aggressive = static_cast<PassiveAggressive>(passive_aggressive);
                      op.w = w.matrix<T>(), op.b = b.vector<T>(), op.step = step;
                      op.l1_applied = l1_applied.matrix<T>(), op.l1_total = l1_total.vector<double>();
                      op.average_w = average_w.matrix<T>(), op.average_b = average_b.vector<T>();
                      op.average_start = average_start, op.objective = objective.vector<double>();
                      return op;
                  });
                  return objective.object;
              });
}

}  // namespace steepest
