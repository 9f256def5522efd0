// The Python functions that train linear models with few outputs, of any loss. No arithmetic here.
#pragma once

#include "bindings/losses.h"

namespace steepest {

template <class B>
struct LinearModels {
    static py::tuple linear_loss(py::handle x_, py::handle w_, py::handle b_, py::handle target_, py::handle weight_,
                                 py::handle kind_, py::handle parameter_, py::handle half_, py::handle reduction,
                                 py::handle l2_, py::handle gradient_, py::handle loss_, py::handle d_w_,
                                 py::handle d_b_) {
        Call<B> call("linear_loss");
        const bool half = call.flag("half", half_), gradient = call.flag("gradient", gradient_);
        const double l2 = call.number("l2", l2_);
        const Array x = call.floats("x", x_, 2), w = call.floats("w", w_, 2), b = call.optional_floats("b", b_, 1);
        const bool is_softmax = call.text("kind", kind_) == ops::SoftmaxCrossEntropy<float>::kName;
        Array target, labels;
        if (is_softmax)
            labels = call.integers("target", target_);
        else
            target = call.floats("target", target_, -1);
        const LossEntry entry = is_softmax ? LossEntry{} : loss_named(call, kind_);
        const double parameter = loss_parameter(call, entry, parameter_);
        const Array weight = call.optional_floats("sample_weight", weight_, 1);
        if (half && is_softmax) ops::reject(call.name(), "half goes with pointwise losses");
        const bool adds = adds_outputs(call, reduction);
        const Array loss = call.output("loss", loss_, {}, DType::kFloat64);
        const Array d_w = gradient ? call.output("d_w", d_w_, w.shape_vector()) : Array();
        const Array d_b = gradient ? call.output("d_b", d_b_, {w.shape[1]}) : Array();
        call.submit_float([&]<class T>() {
            ops::LinearLoss<T> op;
            op.x = x.matrix<const T>(), op.w = w.matrix<const T>(), op.b = b.vector<const T>();
            op.target = as_columns<const T>(call, target), op.labels = labels.integers();
            op.sample_weight = weight.vector<const T>();
            op.kind = entry.kind, op.parameter = parameter, op.factor = half ? 0.5 : 1.0, op.adds_outputs = adds;
            op.l2 = l2, op.loss = reinterpret_cast<double*>(loss.data);
            op.d_w = d_w.matrix<T>(), op.d_b = d_b.vector<T>();
            op.check();
            const Array workspace =
                call.output("workspace", py::none(), {op.template workspace_items<B::kOnGpu>()}, DType::kFloat64);
            op.workspace = workspace.vector<double>();
            return op;
        });
        return py::make_tuple(loss.object, gradient ? d_w.object : py::none(), gradient ? d_b.object : py::none());
    }

    static py::object linear_sgd(py::handle x_, py::handle target_, py::handle w_, py::handle b_, py::handle step_,
                                 py::handle lr_, py::handle kind_, py::handle parameter_, py::handle half_,
                                 py::handle power_, py::handle t0_, py::handle l1_, py::handle l2_,
                                 py::handle passive_aggressive_, py::handle weight_, py::handle class_weight_,
                                 py::handle order_, py::handle l1_applied_, py::handle l1_total_, py::handle average_w_,
                                 py::handle average_b_, py::handle average_start_, py::handle objective_) {
        Call<B> call("linear_sgd");
        const bool half = call.flag("half", half_);
        const double power = call.number("power", power_), t0 = call.number("t0", t0_);
        const double l1 = call.number("l1", l1_), l2 = call.number("l2", l2_);
        const int64_t passive_aggressive = call.integer("passive_aggressive", passive_aggressive_);
        const int64_t average_start = call.integer("average_start", average_start_);
        const Array x = call.floats("x", x_, 2);
        Array target, labels = call.borrow("target", target_);
        if (is_integer(labels.dtype)) {
            call.require_dims("target", labels, 1);
        } else {
            target = call.floats("target", target_, -1);
            labels = Array();
        }
        const Array w = call.in_place("w", w_, 2);
        const auto state = [&](const char* what, py::handle array, int ndim) {
            return array.is_none() ? Array() : call.in_place(what, array, ndim);
        };
        const Array b = state("b", b_, 1);
        int64_t* const step = call.template written_scalar<int64_t>("step", step_);
        const LossEntry entry = loss_named(call, kind_);
        const double parameter = loss_parameter(call, entry, parameter_);
        if (passive_aggressive < 0 || passive_aggressive > 2)
            ops::reject(call.name(), "passive_aggressive is ", passive_aggressive, "; it must be 0, 1 or 2");
        const Array weight = call.optional_floats("sample_weight", weight_, 1);
        const Array class_weight = call.optional_floats("class_weight", class_weight_, 2);
        const Array order = order_.is_none() ? Array() : call.integers("order", order_);
        if (order && order.dtype != DType::kInt64)
            reject_type(call.name(), "order has dtype ", name_of(order.dtype), "; int64 is needed");
        const Array l1_applied = state("l1_applied", l1_applied_, 2);
        const Array l1_total =
            l1_total_.is_none() ? Array() : call.output("l1_total", l1_total_, {w.shape[1]}, DType::kFloat64);
        const Array average_w = state("average_w", average_w_, 2), average_b = state("average_b", average_b_, 1);
        const Array objective = call.output("objective", objective_, {w.shape[1]}, DType::kFloat64);
        const auto lr = call.template scalar<double>("lr", lr_);
        call.submit_float([&]<class T>() {
            ops::LinearSgd<T> op;
            op.x = x.matrix<const T>(), op.target = as_columns<const T>(call, target), op.labels = labels.integers();
            op.sample_weight = weight.vector<const T>(), op.class_weight = class_weight.matrix<const T>();
            op.order = order.vector<const int64_t>();
            op.loss = entry.kind, op.parameter = parameter, op.loss_scale = half ? 0.5 : 1.0;
            op.lr = lr, op.power = power, op.t0 = t0, op.l1 = l1, op.l2 = l2;
            op.passive_aggressive = static_cast<PassiveAggressive>(passive_aggressive);
            op.w = w.matrix<T>(), op.b = b.vector<T>(), op.step = step;
            op.l1_applied = l1_applied.matrix<T>(), op.l1_total = l1_total.vector<double>();
            op.average_w = average_w.matrix<T>(), op.average_b = average_b.vector<T>();
            op.average_start = average_start, op.objective = objective.vector<double>();
            return op;
        });
        return objective.object;
    }

  private:
    // Targets of one output may be a vector.
    template <class T>
    static MatrixView<T> as_columns(const Call<B>& call, const Array& a) {
        if (!a) return {};
        if (a.ndim == 2) return a.matrix<T>();
        call.require_dims("target", a, 1);
        return {reinterpret_cast<T*>(a.data), a.shape[0], 1, a.strides[0] / a.item_bytes, 1};
    }
};

template <class B>
void export_linear_models(py::module_& m) {
    using py::arg;
    const py::none none;
    m.def("linear_loss", &LinearModels<B>::linear_loss, arg("x"), arg("w"), arg("b"), arg("target"),
          arg("sample_weight") = none, py::kw_only(), arg("kind") = "log_loss", arg("parameter") = none,
          arg("half") = false, arg("reduction") = "mean", arg("l2") = 0.0, arg("gradient") = true, arg("loss") = none,
          arg("d_w") = none, arg("d_b") = none);
    m.def("linear_sgd", &LinearModels<B>::linear_sgd, arg("x"), arg("target"), arg("w"), arg("b"), arg("step"),
          py::kw_only(), arg("lr"), arg("kind") = "log_loss", arg("parameter") = none, arg("half") = false,
          arg("power") = 0.0, arg("t0") = 0.0, arg("l1") = 0.0, arg("l2") = 0.0, arg("passive_aggressive") = 0,
          arg("sample_weight") = none, arg("class_weight") = none, arg("order") = none, arg("l1_applied") = none,
          arg("l1_total") = none, arg("average_w") = none, arg("average_b") = none, arg("average_start") = 1,
          arg("objective") = none);
}

}  // namespace steepest
