// The Python functions of all operations, written once for every backend: the CPU's module and CUDA's export the same
// names, contracts and error messages. No arithmetic here.
#pragma once

#include "bindings/call.h"
#include "ops/all.h"

namespace steepest {

template <class B>
Activation activation_named(const Call<B>& call, py::handle activation) {
    const std::string name = call.text("activation", activation);
#define STEEPEST_MATCH(Name, text) \
    if (name == text) return Activation::k##Name;
    STEEPEST_ACTIVATIONS(STEEPEST_MATCH)
#undef STEEPEST_MATCH
    std::string known;
#define STEEPEST_LIST(Name, text) known += (known.empty() ? "" : ", ") + std::string(text);
    STEEPEST_ACTIVATIONS(STEEPEST_LIST)
#undef STEEPEST_LIST
    ops::reject(call.name(), "activation '", name, "' is not one of: ", known);
}

template <class B>
Precision precision_named(const Call<B>& call, py::handle precision) {
    const std::string name = call.text("precision", precision);
#define STEEPEST_MATCH(Name, text) \
    if (name == text) return Precision::k##Name;
    STEEPEST_PRECISIONS(STEEPEST_MATCH)
#undef STEEPEST_MATCH
    std::string known;
#define STEEPEST_LIST(Name, text) known += (known.empty() ? "" : ", ") + std::string(text);
    STEEPEST_PRECISIONS(STEEPEST_LIST)
#undef STEEPEST_LIST
    ops::reject(call.name(), "precision '", name, "' is not one of: ", known);
}

inline py::tuple activation_names() {
    py::list names;
#define STEEPEST_LIST(Name, text) names.append(text);
    STEEPEST_ACTIVATIONS(STEEPEST_LIST)
#undef STEEPEST_LIST
    return py::tuple(names);
}

template <class B>
struct LinearAlgebra {
    static py::object matmul(py::handle a_, py::handle b_, py::handle out_, py::handle precision_) {
        Call<B> call("matmul");
        const Array a = call.floats("a", a_, 2), b = call.floats("b", b_, 2);
        const Precision precision = precision_named(call, precision_);
        const Array out = call.output("out", out_, {a.shape[0], b.shape[1]});
        call.submit_float([&]<class T>() {
            return ops::MatMul<T>{a.matrix<const T>(), b.matrix<const T>(), out.matrix<T>(), precision};
        });
        return out.object;
    }

    static py::object linear(py::handle x_, py::handle w_, py::handle b_, py::handle activation, py::handle out_,
                             py::handle precision_) {
        Call<B> call("linear");
        const Array x = call.floats("x", x_, 2), w = call.floats("w", w_, 2), b = call.optional_floats("b", b_, 1);
        const Activation f = activation_named(call, activation);
        const Precision precision = precision_named(call, precision_);
        const Array out = call.output("out", out_, {x.shape[0], w.shape[1]});
        call.submit_float([&]<class T>() {
            return ops::Linear<T>{
                x.matrix<const T>(), w.matrix<const T>(), b.vector<const T>(), out.matrix<T>(), f, precision};
        });
        return out.object;
    }

    static py::tuple linear_backward(py::handle d_out_, py::handle x_, py::handle w_, py::handle activation, double l2,
                                     bool input_grad, py::handle d_x_, py::handle d_w_, py::handle d_b_,
                                     py::handle precision_, bool accumulate) {
        Call<B> call("linear_backward");
        const Array d_out = call.floats("d_out", d_out_, 2), x = call.floats("x", x_, 2), w = call.floats("w", w_, 2);
        const Activation f = activation_named(call, activation);
        const Precision precision = precision_named(call, precision_);
        if (accumulate && (d_w_.is_none() || d_b_.is_none()))
            reject_type(call.name(), "d_w and d_b are needed where they are added to");
        const Array d_w = call.output("d_w", d_w_, w.shape_vector());
        const Array d_b = call.output("d_b", d_b_, {w.shape[1]});
        const Array d_x = input_grad ? call.output("d_x", d_x_, x.shape_vector()) : Array();
        call.submit_float([&]<class T>() {
            return ops::LinearBackward<T>{d_out.matrix<const T>(),
                                          x.matrix<const T>(),
                                          w.matrix<const T>(),
                                          d_x.matrix<T>(),
                                          d_w.matrix<T>(),
                                          d_b.vector<T>(),
                                          f,
                                          l2,
                                          precision,
                                          accumulate};
        });
        return py::make_tuple(input_grad ? d_x.object : py::none(), d_w.object, d_b.object);
    }
};

template <class B>
struct Elementwise {
    static py::object activation(py::handle x_, py::handle activation, py::handle out_) {
        Call<B> call("activation");
        const Array x = call.floats("x", x_, -1);
        const Activation f = activation_named(call, activation);
        const Array out = call.output("out", out_, x.shape_vector());
        require_matrix_form(call, "x", x), require_matrix_form(call, "out", out);
        call.submit_float(
            [&]<class T>() { return ops::ActivationForward<T>{x.as_matrix<const T>(), out.as_matrix<T>(), f}; });
        return out.object;
    }

    static py::object activation_backward(py::handle d_y_, py::handle y_, py::handle activation, py::handle out_) {
        Call<B> call("activation_backward");
        const Array d_y = call.floats("d_y", d_y_, -1), y = call.floats("y", y_, -1);
        const Activation f = activation_named(call, activation);
        if (!d_y.same_shape(y))
            ops::reject(call.name(), "d_y has shape ", d_y.shape_text(), ", but y has shape ", y.shape_text());
        const Array out = call.output("out", out_, y.shape_vector());
        require_matrix_form(call, "d_y", d_y), require_matrix_form(call, "y", y), require_matrix_form(call, "out", out);
        call.submit_float([&]<class T>() {
            return ops::ActivationBackward<T>{d_y.as_matrix<const T>(), y.as_matrix<const T>(), out.as_matrix<T>(), f};
        });
        return out.object;
    }

    static py::object dropout(py::handle x_, double rate, py::handle seed_, py::handle stream_, py::handle out_) {
        Call<B> call("dropout");
        const Array x = call.floats("x", x_, -1);
        const uint64_t seed = call.word("seed", seed_);
        const auto stream = call.word_or_array("stream", stream_);
        const Array out = call.output("out", out_, x.shape_vector());
        require_matrix_form(call, "x", x), require_matrix_form(call, "out", out);
        call.submit_float(
            [&]<class T>() { return ops::Dropout<T>{x.as_matrix<const T>(), out.as_matrix<T>(), rate, seed, stream}; });
        return out.object;
    }

    static py::object softmax(py::handle x_, bool logarithm, py::handle out_) {
        Call<B> call(logarithm ? "log_softmax" : "softmax");
        const Array x = call.floats("x", x_, 2);
        const Array out = call.output("out", out_, x.shape_vector());
        call.submit_float([&]<class T>() { return ops::Softmax<T>{x.matrix<const T>(), out.matrix<T>(), logarithm}; });
        return out.object;
    }

    static void require_matrix_form(const Call<B>& call, const char* what, const Array& array) {
        if (!array.has_matrix_form())
            ops::reject(call.name(), what, " of shape ", array.shape_text(),
                        " must be contiguous, or have at most 2 dimensions");
    }
};

template <class B>
struct Updates {
    static std::vector<py::object> list_of(py::handle arrays) {
        if (!PyList_Check(arrays.ptr()) && !PyTuple_Check(arrays.ptr()))
            return {py::reinterpret_borrow<py::object>(arrays)};
        std::vector<py::object> list;
        for (const py::handle array : arrays) list.push_back(py::reinterpret_borrow<py::object>(array));
        return list;
    }

    struct Tensors {
        Array param, grad, state[2];
    };

    static std::vector<Tensors> tensors(Call<B>& call, py::handle params_, py::handle grads_,
                                        const char* const names[2], const py::handle states_[2]) {
        const auto params = list_of(params_), grads = list_of(grads_);
        std::vector<py::object> states[2];
        require_equal(call, "grads", grads.size(), params.size());
        for (int s = 0; s < 2; ++s) {
            if (!names[s] || states_[s].is_none()) continue;
            states[s] = list_of(states_[s]);
            require_equal(call, names[s], states[s].size(), params.size());
        }
        std::vector<Tensors> result(params.size());
        for (size_t i = 0; i < params.size(); ++i) {
            Tensors& t = result[i];
            t.param = call.in_place("params", params[i], -1);
            t.grad = call.floats("grads", grads[i], -1);
            require_like(call, "grads", t.grad, t.param);
            for (int s = 0; s < 2; ++s) {
                if (states[s].empty()) continue;
                t.state[s] = call.in_place(names[s], states[s][i], -1);
                require_like(call, names[s], t.state[s], t.param);
            }
            Elementwise<B>::require_matrix_form(call, "params", t.param);
        }
        return result;
    }

    static void require_equal(const Call<B>& call, const char* what, size_t n, size_t params) {
        if (n != params) ops::reject(call.name(), what, " has ", n, " arrays, but params has ", params);
    }

    static void require_like(const Call<B>& call, const char* what, const Array& array, const Array& param) {
        if (!array.same_shape(param))
            ops::reject(call.name(), what, " has shape ", array.shape_text(), ", but params has shape ",
                        param.shape_text());
        Elementwise<B>::require_matrix_form(call, what, array);
    }

    // Narrow contiguous tensors become one long row, which vectors cross without a remainder at every row.
    template <class T>
    static ops::TensorList<T> list(const std::vector<Tensors>& tensors) {
        constexpr int64_t kNarrow = 64;
        ops::TensorList<T> list;
        for (const Tensors& t : tensors) {
            ops::UpdateTensor<T> u{t.param.template as_matrix<T>(),
                                   t.grad.template as_matrix<const T>(),
                                   {t.state[0].template as_matrix<T>(), t.state[1].template as_matrix<T>()}};
            const auto flat = [](const Array& a) { return !a || a.is_contiguous(); };
            if (u.param.cols < kNarrow && flat(t.param) && flat(t.grad) && flat(t.state[0]) && flat(t.state[1])) {
                const int64_t n = u.param.rows * u.param.cols;
                const auto flatten = [n](auto& m) {
                    if (m) m.rows = 1, m.cols = n, m.row_stride = 0, m.col_stride = 1;
                };
                flatten(u.param), flatten(u.grad), flatten(u.state[0]), flatten(u.state[1]);
            }
            if (u.param.rows > 0 && u.param.cols > 0) list.tensors.push_back(u);
        }
        return list;
    }

    static void sgd_update(py::handle params, py::handle grads, py::handle velocities, py::handle lr_, double momentum,
                           bool nesterov, double weight_decay) {
        Call<B> call("sgd_update");
        if (velocities.is_none() && momentum != 0)
            ops::reject(call.name(), "velocities are needed when momentum is not 0");
        if (nesterov && momentum == 0) ops::reject(call.name(), "nesterov needs a momentum above 0");
        static constexpr const char* kStates[2] = {"velocities", nullptr};
        const py::handle states[2] = {velocities, py::none()};
        const auto all = tensors(call, params, grads, kStates, states);
        const auto lr = call.template scalar<double>("lr", lr_);
        call.submit_float(
            [&]<class T>() { return ops::SgdUpdate<T>{list<T>(all), lr, momentum, weight_decay, nesterov}; });
    }

    static void adam_update(py::handle params, py::handle grads, py::handle exp_avg, py::handle exp_avg_sq,
                            py::handle step_, py::handle lr_, double beta1, double beta2, double eps,
                            double weight_decay) {
        Call<B> call("adam_update");
        if (!(beta1 >= 0 && beta1 < 1)) ops::reject(call.name(), "beta1 is ", beta1, "; it must be in [0, 1)");
        if (!(beta2 >= 0 && beta2 < 1)) ops::reject(call.name(), "beta2 is ", beta2, "; it must be in [0, 1)");
        static constexpr const char* kStates[2] = {"exp_avg", "exp_avg_sq"};
        const py::handle states[2] = {exp_avg, exp_avg_sq};
        if (exp_avg.is_none() || exp_avg_sq.is_none())
            reject_type(call.name(), "exp_avg and exp_avg_sq must be arrays, not None");
        const auto all = tensors(call, params, grads, kStates, states);
        const auto lr = call.template scalar<double>("lr", lr_);
        const auto step = call.template scalar<int64_t>("step", step_);
        if (!step.data && step.value < 1)
            ops::reject(call.name(), "step is ", step.value, "; updates are counted from 1");
        call.submit_float(
            [&]<class T>() { return ops::AdamUpdate<T>{list<T>(all), lr, step, beta1, beta2, eps, weight_decay}; });
    }
};

}  // namespace steepest
