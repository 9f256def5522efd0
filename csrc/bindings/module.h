// Exports the operations of a backend; cpu.cpp and cuda.cpp each call this once.
#pragma once

#include <pybind11/stl.h>

#include "bindings/data_operations.h"
#include "bindings/distributions.h"
#include "bindings/linear_model_operations.h"
#include "bindings/losses.h"
#include "bindings/operations.h"
#include "bindings/update_operations.h"

namespace steepest {

template <class B>
void export_operations(py::module_& m) {
    using py::arg;
    const py::none none;
    m.attr("ACTIVATIONS") = activation_names([](const ActivationInfo&) { return true; });
    m.attr("INPUT_DERIVATIVES") =
        activation_names([](const ActivationInfo& info) { return info.derivative_at == DerivativeAt::kInput; });
    m.attr("ACTIVATION_PARAMETERS") = activation_parameters();
    m.attr("UPDATE_RULES") = update_rules();

    m.def("matmul", &LinearAlgebra<B>::matmul, arg("a"), arg("b"), arg("out") = none, arg("precision") = "float32");
    m.def("linear", &LinearAlgebra<B>::linear, arg("x"), arg("w"), arg("b") = none, arg("activation") = "identity",
          arg("out") = none, arg("precision") = "float32");
    m.def("linear_backward", &LinearAlgebra<B>::linear_backward, arg("d_out"), arg("x"), arg("w"),
          arg("activation") = "identity", arg("l2") = 0.0, arg("input_grad") = true, arg("d_x") = none,
          arg("d_w") = none, arg("d_b") = none, arg("precision") = "float32", arg("accumulate") = false);

    m.def("linear_tangent", &LinearAlgebra<B>::linear_tangent, arg("x"), arg("v"), arg("c") = none, arg("dx") = none,
          arg("w") = none, py::kw_only(), arg("y") = none, arg("activation") = "identity", arg("out") = none,
          arg("precision") = "float32");

    m.def("gradient_gram", &LinearAlgebra<B>::gradient_gram, arg("x"), arg("d"), py::kw_only(), arg("bias") = false,
          arg("accumulate") = false, arg("out") = none);

    m.def("gradient_norms", &LinearAlgebra<B>::gradient_norms, arg("x"), arg("d"), py::kw_only(), arg("bias") = true,
          arg("accumulate") = false, arg("out") = none);
    m.def("second_moment", &LinearAlgebra<B>::second_moment, arg("x"), arg("sample_weight") = none, py::kw_only(),
          arg("ones") = false, arg("scale") = 1.0, arg("decay") = 0.0, arg("out") = none);

    m.def("activation", &Elementwise<B>::activation, arg("x"), arg("activation") = "relu", arg("out") = none);
    m.def("activation_backward", &Elementwise<B>::activation_backward, arg("d_y"), arg("y"), arg("activation") = "relu",
          arg("out") = none);
    m.def("dropout", &Elementwise<B>::dropout, arg("x"), arg("rate"), py::kw_only(), arg("seed"), arg("stream"),
          arg("out") = none);
    m.def("prelu", &Elementwise<B>::prelu, arg("x"), arg("slope"), arg("out") = none);
    m.def("prelu_backward", &Elementwise<B>::prelu_backward, arg("d_y"), arg("x"), arg("slope"), arg("d_x") = none,
          arg("d_slope") = none);
    m.def("softmax_backward", &Elementwise<B>::softmax_backward, arg("d_y"), arg("y"), arg("out") = none);
    m.def(
        "softmax", [](py::handle x, py::handle out) { return Elementwise<B>::softmax(x, false, out); }, arg("x"),
        arg("out") = none);
    m.def(
        "log_softmax", [](py::handle x, py::handle out) { return Elementwise<B>::softmax(x, true, out); }, arg("x"),
        arg("out") = none);

    export_losses<B>(m);
    export_distributions<B>(m);
    export_linear_models<B>(m);

    const auto update = [&]<class... Own>(const char* name, auto function, const Own&... own) {
        m.def(name, function, own..., arg("l2") = 0.0, arg("weight_decay") = 0.0, arg("l1") = 0.0,
              arg("max_norm") = none, arg("penalised") = none);
    };
    update("sgd_update", &Updates<B>::sgd_update, arg("params"), arg("grads"), arg("velocities") = none, py::kw_only(),
           arg("lr"), arg("momentum") = 0.0, arg("nesterov") = false);
    update("adagrad_update", &Updates<B>::adagrad_update, arg("params"), arg("grads"), arg("sum_sq"), py::kw_only(),
           arg("lr") = 1e-2, arg("eps") = 1e-10);
    update("rmsprop_update", &Updates<B>::rmsprop_update, arg("params"), arg("grads"), arg("exp_avg_sq"), py::kw_only(),
           arg("lr") = 1e-2, arg("rho") = 0.99, arg("eps") = 1e-8);
    update("adam_update", &Updates<B>::adam_update, arg("params"), arg("grads"), arg("exp_avg"), arg("exp_avg_sq"),
           arg("step"), py::kw_only(), arg("lr") = 1e-3, arg("beta1") = 0.9, arg("beta2") = 0.999, arg("eps") = 1e-8);

    const auto reduction = [&](const char* name, ops::Reduction kind) {
        m.def(
            name,
            [kind](py::handle x, py::handle axis, py::handle out) { return Reductions<B>::reduce(x, axis, out, kind); },
            arg("x"), arg("axis") = none, arg("out") = none);
    };
    reduction("sum", ops::Reduction::kSum), reduction("mean", ops::Reduction::kMean);
    reduction("sum_squares", ops::Reduction::kSumSquares);
    reduction("max", ops::Reduction::kMax), reduction("min", ops::Reduction::kMin);
    m.def("argmax", &Reductions<B>::argmax, arg("x"), arg("axis") = 1, arg("out") = none);

    m.def("class_scatter", &Reductions<B>::class_scatter, arg("x"), arg("labels"), arg("centre"),
          arg("sample_weight") = none, py::kw_only(), arg("accumulate") = false, arg("weights") = none,
          arg("sums") = none, arg("scatter") = none);

    m.def("take_rows", &Data<B>::take_rows, arg("x"), arg("indices"), arg("out") = none, py::kw_only(),
          arg("start") = none);
    m.def("take_sparse_rows", &Data<B>::take_sparse_rows, arg("data"), arg("indices"), arg("indptr"), arg("rows"),
          arg("out"), py::kw_only(), arg("start") = none);
    m.def("increment", &Data<B>::increment, arg("counter"), arg("by") = 1);
    m.def("accumulate", &Data<B>::accumulate, arg("total"), arg("value"), arg("scale") = 1.0);
    m.def("look_up", &Data<B>::look_up, arg("table"), arg("index"), arg("out") = none);
    m.def("require_finite", &Data<B>::require_finite, arg("value"));

    m.def("random_uniform", &Randomness<B>::random_uniform, arg("shape"), arg("low") = 0.0, arg("high") = 1.0,
          py::kw_only(), arg("seed"), arg("stream") = 0, arg("dtype") = "float32", arg("out") = none);
    m.def("random_bits", &Randomness<B>::random_bits, arg("n"), py::kw_only(), arg("seed"), arg("stream") = 0,
          arg("out") = none);
}

}  // namespace steepest
