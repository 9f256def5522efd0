// The Python functions of functions of one item, sums, products and copies, activations, dropout and softmax. No arithmetic here.
#pragma once

#include "bindings/operations/names.h"

namespace steepest {

template <class B>
void require_matrix_form(const Call<B>& call, const char* what, const Array& array) {
    if (!array.has_matrix_form())
        ops::reject(call.name(), what, " of shape ", array.shape_text(),
                    " must be contiguous, or have at most 2 dimensions");
}

template <class B>
void require_few_axes(const Call<B>& call, const char* what, const Array& array) {
    if (array.ndim > kMaxArrayAxes)
        ops::reject(call.name(), what, " has shape ", array.shape_text(), "; at most ", kMaxArrayAxes,
                    " dimensions are possible");
}

template <class B>
py::object binary(Call<B>& call, const Array& a, const Array& b, const Output& out_, BinaryFormula formula) {
    require_few_axes(call, "a", a), require_few_axes(call, "b", b);
    const Array out = call.output(out_, a.shape_vector());
    call.submit_float(
        [&]<class T>() { return ops::binary(a.tensor<const T>(), b.tensor<const T>(), out.tensor<T>(), formula); });
    return out.object;
}

// What Python makes functions and tables of: a dictionary for each function of one item, in their order.
inline py::tuple described_unary_functions() {
    using namespace py::literals;
    py::list functions;
    for (const UnaryInfo& info : kUnaryFormulas)
        functions.append(py::dict("name"_a = info.name, "value"_a = info.value, "special"_a = info.special));
    return py::tuple(functions);
}

template <class B>
void export_unary_functions(py::module_& m) {
    m.attr("UNARY_FUNCTIONS") = described_unary_functions();
    for (const UnaryInfo& info : kUnaryFormulas)
        define<B>(
            m, signature(info.name, "Array", arg::array("x"), arg::output("out")),
            [formula = info.formula](Call<B>& call, const Array& x, const Output& out_) {
                require_few_axes(call, "x", x);
                const Array out = call.output(out_, x.shape_vector());
                call.submit_float([&]<class T>() { return ops::unary(x.tensor<const T>(), out.tensor<T>(), formula); });
                return out.object;
            });
}

inline bool is_bool(const Array& array) {
    return py::reinterpret_borrow<py::dtype>(array.object.attr("dtype")).kind() == 'b';
}

template <class B>
void export_tensors(py::module_& m) {
    define<B>(m, signature("add", "Array", arg::array("a"), arg::array("b"), arg::output("out")),
              [](Call<B>& call, const Array& a, const Array& b, const Output& out) {
                  return binary(call, a, b, out, BinaryFormula::kSum);
              });

    define<B>(m,
              signature("multiply", "Array", arg::array("a"), arg::array("b"), arg::output("out"), arg::keywords_only(),
                        arg::flag("accumulate", false)),
              [](Call<B>& call, const Array& a, const Array& b, const Output& out, bool accumulate) {
                  if (accumulate && !out.is_given()) ops::reject(call.name(), "out is needed to add to");
                  return binary(call, a, b, out, accumulate ? BinaryFormula::kAddedProduct : BinaryFormula::kProduct);
              });

    define<B>(
        m, signature("copy", "Array", arg::any_array("x"), arg::output("out")),
        [](Call<B>& call, const Array& x, const Output& out_) {
            const bool bools = x.dtype == DType::kOther && is_bool(x);
            if (x.dtype == DType::kOther && !bools)
                reject_type(call.name(), "x has dtype ", call.dtype_text(x),
                            "; float32, float64, an integer dtype or bool is needed");
            require_few_axes(call, "x", x);
            const Array out = out_.is_given() ? call.borrow(out_.what, out_.given) : call.new_like(x, x.shape_vector());
            if (out.dtype != x.dtype || (bools && !is_bool(out)))
                reject_type(call.name(), "out has dtype ", call.dtype_text(out), ", but x has ", call.dtype_text(x));
            if (!out.same_shape(x))
                ops::reject(call.name(), "out has shape ", out.shape_text(), ", but x has shape ", x.shape_text());
            call.require_writeable(out_.what, out);
            call.submit(ops::copy(x.tensor_of_bytes<const char>(), out.tensor_of_bytes<char>()));
            return out.object;
        });
}

// What Python makes functions, layers and tables of: a dictionary for each activation, in their order.
inline py::tuple described_activations() {
    py::list activations;
    for (const ActivationInfo& info : kActivations) {
        using namespace py::literals;
        activations.append(py::dict("name"_a = info.name, "layer"_a = info.layer,
                                    "parameter"_a = *info.parameter ? py::object(py::str(info.parameter)) : py::none(),
                                    "default"_a = info.default_parameter,
                                    "at_input"_a = info.derivative_at == DerivativeAt::kInput, "value"_a = info.value,
                                    "derivative"_a = info.derivative, "range"_a = info.range,
                                    "source"_a = info.source));
    }
    return py::tuple(activations);
}

template <class B>
void export_activations(py::module_& m) {
    m.attr("ACTIVATIONS") = described_activations();

    define<B>(m, signature("activation", "Array", arg::array("x"), arg::activation("relu"), arg::output("out")),
              [](Call<B>& call, const Array& x, Activation activation, const Output& out) {
                  const Array y = call.output(out, x.shape_vector());
                  require_matrix_form(call, "x", x), require_matrix_form(call, "out", y);
                  call.submit_float([&]<class T>() {
                      return ops::ActivationForward<T>{x.as_matrix<const T>(), y.as_matrix<T>(), activation};
                  });
                  return y.object;
              });

    define<B>(m,
              signature("activation_backward", "Array", arg::array("d_y"), arg::array("y"), arg::activation("relu"),
                        arg::output("out")),
              [](Call<B>& call, const Array& d_y, const Array& y, Activation activation, const Output& out) {
                  if (!d_y.same_shape(y))
                      ops::reject(call.name(), "d_y has shape ", d_y.shape_text(), ", but y has shape ",
                                  y.shape_text());
                  const Array d_x = call.output(out, y.shape_vector());
                  require_matrix_form(call, "d_y", d_y), require_matrix_form(call, "y", y);
                  require_matrix_form(call, "out", d_x);
                  call.submit_float([&]<class T>() {
                      return ops::ActivationBackward<T>{d_y.as_matrix<const T>(), y.as_matrix<const T>(),
                                                        d_x.as_matrix<T>(), activation};
                  });
                  return d_x.object;
              });

    define<B>(m, signature("prelu", "Array", arg::matrix("x"), arg::vector("slope"), arg::output("out")),
              [](Call<B>& call, const Array& x, const Array& slope, const Output& out) {
                  const Array y = call.output(out, x.shape_vector());
                  call.submit_float([&]<class T>() {
                      return ops::Prelu<T>{x.matrix<const T>(), slope.vector<const T>(), y.matrix<T>()};
                  });
                  return y.object;
              });

    define<B>(m,
              signature("prelu_backward", "tuple[Array, Array]", arg::matrix("d_y"), arg::matrix("x"),
                        arg::vector("slope"), arg::output("d_x"), arg::output("d_slope")),
              [](Call<B>& call, const Array& d_y, const Array& x, const Array& slope, const Output& d_x_,
                 const Output& d_slope_) {
                  const Array d_x = call.output(d_x_, x.shape_vector());
                  const Array d_slope = call.output(d_slope_, slope.shape_vector());
                  call.submit_float([&]<class T>() {
                      return ops::PreluBackward<T>{d_y.matrix<const T>(), x.matrix<const T>(), slope.vector<const T>(),
                                                   d_x.matrix<T>(), d_slope.vector<T>()};
                  });
                  return py::make_tuple(d_x.object, d_slope.object);
              });

    define<B>(
        m,
        signature("dropout", "Array", arg::array("x"), arg::number("rate"), arg::keywords_only(), arg::word("seed"),
                  arg::word_or_array("stream"), arg::output("out")),
        [](Call<B>& call, const Array& x, double rate, uint64_t seed, ScalarView<int64_t> stream, const Output& out) {
            const Array y = call.output(out, x.shape_vector());
            require_matrix_form(call, "x", x), require_matrix_form(call, "out", y);
            call.submit_float([&]<class T>() {
                return ops::Dropout<T>{x.as_matrix<const T>(), y.as_matrix<T>(), rate, seed, stream};
            });
            return y.object;
        });
}

template <class B>
void export_softmax(py::module_& m) {
    const auto softmax = [&](const char* name, bool logarithm) {
        define<B>(m, signature(name, "Array", arg::matrix("x"), arg::output("out")),
                  [logarithm](Call<B>& call, const Array& x, const Output& out) {
                      const Array y = call.output(out, x.shape_vector());
                      call.submit_float(
                          [&]<class T>() { return ops::Softmax<T>{x.matrix<const T>(), y.matrix<T>(), logarithm}; });
                      return y.object;
                  });
    };
    softmax("softmax", false), softmax("log_softmax", true);

    define<B>(m, signature("softmax_backward", "Array", arg::matrix("d_y"), arg::matrix("y"), arg::output("out")),
              [](Call<B>& call, const Array& d_y, const Array& y, const Output& out) {
                  const Array d_x = call.output(out, y.shape_vector());
                  call.submit_float([&]<class T>() {
                      return ops::SoftmaxBackward<T>{d_y.matrix<const T>(), y.matrix<const T>(), d_x.matrix<T>()};
                  });
                  return d_x.object;
              });
}

}  // namespace steepest
