// The Python functions of all operations, written once for every backend: the CPU's module and CUDA's export the same
// names, contracts and error messages. No arithmetic here.
#pragma once

#include "bindings/call.h"
#include "ops/all.h"

namespace steepest {

// The parameter that was given, or the default.
template <class B>
double parameter_of(const Call<B>& call, const ActivationInfo& info, const py::object& given) {
    if (!given) return info.default_parameter;
    if (!*info.parameter) ops::reject(call.name(), "activation '", info.name, "' takes no parameter");
    const std::string what = std::string(info.parameter) + " of activation '" + info.name + "'";
    const double parameter = call.number(what.c_str(), given);
    if (!(parameter >= 0 && std::isfinite(parameter)))
        ops::reject(call.name(), what, " is ", parameter, "; it must be finite and not negative");
    return parameter;
}

template <class B>
Activation activation_named(const Call<B>& call, py::handle activation) {
    py::object name_object = py::reinterpret_borrow<py::object>(activation), parameter;
    if ((PyTuple_Check(activation.ptr()) || PyList_Check(activation.ptr())) && py::len(activation) == 2)
        name_object = activation[py::int_(0)], parameter = activation[py::int_(1)];
    if (!PyUnicode_Check(name_object.ptr()))
        reject_type(call.name(), "activation must be a name or a pair (name, parameter)");
    const std::string name = call.text("activation", name_object);
    std::string known;
    for (const ActivationInfo& info : kActivations) {
        if (name == info.name) return {info.kind, parameter_of(call, info, parameter)};
        known.append(known.empty() ? "" : ", ").append(info.name);
    }
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
#define STEEPEST_LIST(Name, text) known.append(known.empty() ? "" : ", ").append(text);
    STEEPEST_PRECISIONS(STEEPEST_LIST)
#undef STEEPEST_LIST
    ops::reject(call.name(), "precision '", name, "' is not one of: ", known);
}

// The names of all, or of those for which `wanted` holds.
template <class Wanted>
py::tuple activation_names(Wanted&& wanted) {
    py::list names;
    for (const ActivationInfo& info : kActivations)
        if (wanted(info)) names.append(info.name);
    return py::tuple(names);
}

// Name -> (name of the parameter, its default).
inline py::dict activation_parameters() {
    py::dict parameters;
    for (const ActivationInfo& info : kActivations)
        if (*info.parameter) parameters[info.name] = py::make_tuple(info.parameter, info.default_parameter);
    return parameters;
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

    static py::object linear_tangent(py::handle x_, py::handle v_, py::handle c_, py::handle dx_, py::handle w_,
                                     py::handle y_, py::handle activation, py::handle out_, py::handle precision_) {
        Call<B> call("linear_tangent");
        const Array x = call.floats("x", x_, 2), v = call.floats("v", v_, 2), c = call.optional_floats("c", c_, 1);
        const Array dx = call.optional_floats("dx", dx_, 2), w = call.optional_floats("w", w_, 2);
        const Array y = call.optional_floats("y", y_, 2);
        const Activation f = activation_named(call, activation);
        const Precision precision = precision_named(call, precision_);
        const Array out = call.output("out", out_, {x.shape[0], v.shape[1]});
        call.submit_float([&]<class T>() {
            return ops::LinearTangent<T>{x.matrix<const T>(),
                                         v.matrix<const T>(),
                                         c.vector<const T>(),
                                         dx.matrix<const T>(),
                                         w.matrix<const T>(),
                                         y.matrix<const T>(),
                                         out.matrix<T>(),
                                         f,
                                         precision};
        });
        return out.object;
    }

    static py::object gradient_gram(py::handle x_, py::handle d_, py::handle bias_, py::handle accumulate_,
                                    py::handle out_) {
        Call<B> call("gradient_gram");
        const bool bias = call.flag("bias", bias_), accumulate = call.flag("accumulate", accumulate_);
        const Array x = call.floats("x", x_, 2), d = call.floats("d", d_, 2);
        if (accumulate && out_.is_none()) ops::reject(call.name(), "out is needed to add to");
        const Array out = call.output("out", out_, {d.shape[0], d.shape[0]}, DType::kFloat64);
        call.submit_float([&]<class T>() {
            ops::GradientGram<T> op{x.matrix<const T>(), d.matrix<const T>(),  bias,
                                    accumulate,          out.matrix<double>(), {}};
            op.check();
            if (const int64_t items = op.template workspace_items<B::kOnGpu>())
                op.workspace = call.output("workspace", py::none(), {items}, DType::kFloat64).template vector<double>();
            return op;
        });
        return out.object;
    }

    static py::object gradient_norms(py::handle x_, py::handle d_, py::handle bias_, py::handle accumulate_,
                                     py::handle out_) {
        Call<B> call("gradient_norms");
        const bool bias = call.flag("bias", bias_), accumulate = call.flag("accumulate", accumulate_);
        const Array x = call.floats("x", x_, 2), d = call.floats("d", d_, 2);
        if (accumulate && out_.is_none()) ops::reject(call.name(), "out is needed to add to");
        const Array out = call.output("out", out_, {d.shape[0]}, DType::kFloat64);
        call.submit_float([&]<class T>() {
            return ops::GradientNorms<T>{x.matrix<const T>(), d.matrix<const T>(), bias, accumulate,
                                         out.vector<double>()};
        });
        return out.object;
    }

    static py::object second_moment(py::handle x_, py::handle weight_, py::handle ones_, py::handle scale_,
                                    py::handle decay_, py::handle out_) {
        Call<B> call("second_moment");
        const bool ones = call.flag("ones", ones_);
        const double scale = call.number("scale", scale_);
        const Array x = call.floats("x", x_, 2), weight = call.optional_floats("sample_weight", weight_, 1);
        const auto decay = call.template scalar<double>("decay", decay_);
        if (out_.is_none() && (decay.data || decay.value != 0))
            ops::reject(call.name(), "out is needed where decay keeps some of it");
        const int64_t size = x.shape[1] + (ones ? 1 : 0);
        const Array out = call.output("out", out_, {size, size});
        call.submit_float([&]<class T>() {
            return ops::SecondMoment<T>{x.matrix<const T>(), weight.vector<const T>(), ones, scale, decay,
                                        out.matrix<T>()};
        });
        return out.object;
    }

    static py::tuple linear_backward(py::handle d_out_, py::handle x_, py::handle w_, py::handle activation,
                                     py::handle l2_, py::handle input_grad_, py::handle d_x_, py::handle d_w_,
                                     py::handle d_b_, py::handle precision_, py::handle accumulate_) {
        Call<B> call("linear_backward");
        const double l2 = call.number("l2", l2_);
        const bool input_grad = call.flag("input_grad", input_grad_), accumulate = call.flag("accumulate", accumulate_);
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

    static py::object dropout(py::handle x_, py::handle rate_, py::handle seed_, py::handle stream_, py::handle out_) {
        Call<B> call("dropout");
        const double rate = call.number("rate", rate_);
        const Array x = call.floats("x", x_, -1);
        const uint64_t seed = call.word("seed", seed_);
        const auto stream = call.word_or_array("stream", stream_);
        const Array out = call.output("out", out_, x.shape_vector());
        require_matrix_form(call, "x", x), require_matrix_form(call, "out", out);
        call.submit_float(
            [&]<class T>() { return ops::Dropout<T>{x.as_matrix<const T>(), out.as_matrix<T>(), rate, seed, stream}; });
        return out.object;
    }

    static py::object prelu(py::handle x_, py::handle slope_, py::handle out_) {
        Call<B> call("prelu");
        const Array x = call.floats("x", x_, 2), slope = call.floats("slope", slope_, 1);
        const Array out = call.output("out", out_, x.shape_vector());
        call.submit_float(
            [&]<class T>() { return ops::Prelu<T>{x.matrix<const T>(), slope.vector<const T>(), out.matrix<T>()}; });
        return out.object;
    }

    static py::tuple prelu_backward(py::handle d_y_, py::handle x_, py::handle slope_, py::handle d_x_,
                                    py::handle d_slope_) {
        Call<B> call("prelu_backward");
        const Array d_y = call.floats("d_y", d_y_, 2), x = call.floats("x", x_, 2);
        const Array slope = call.floats("slope", slope_, 1);
        const Array d_x = call.output("d_x", d_x_, x.shape_vector());
        const Array d_slope = call.output("d_slope", d_slope_, slope.shape_vector());
        call.submit_float([&]<class T>() {
            return ops::PreluBackward<T>{d_y.matrix<const T>(), x.matrix<const T>(), slope.vector<const T>(),
                                         d_x.matrix<T>(), d_slope.vector<T>()};
        });
        return py::make_tuple(d_x.object, d_slope.object);
    }

    static py::object softmax(py::handle x_, bool logarithm, py::handle out_) {
        Call<B> call(logarithm ? "log_softmax" : "softmax");
        const Array x = call.floats("x", x_, 2);
        const Array out = call.output("out", out_, x.shape_vector());
        call.submit_float([&]<class T>() { return ops::Softmax<T>{x.matrix<const T>(), out.matrix<T>(), logarithm}; });
        return out.object;
    }

    static py::object softmax_backward(py::handle d_y_, py::handle y_, py::handle out_) {
        Call<B> call("softmax_backward");
        const Array d_y = call.floats("d_y", d_y_, 2), y = call.floats("y", y_, 2);
        const Array out = call.output("out", out_, y.shape_vector());
        call.submit_float([&]<class T>() {
            return ops::SoftmaxBackward<T>{d_y.matrix<const T>(), y.matrix<const T>(), out.matrix<T>()};
        });
        return out.object;
    }

    static void require_matrix_form(const Call<B>& call, const char* what, const Array& array) {
        if (!array.has_matrix_form())
            ops::reject(call.name(), what, " of shape ", array.shape_text(),
                        " must be contiguous, or have at most 2 dimensions");
    }
};

}  // namespace steepest
