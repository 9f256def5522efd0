// The Python functions of matrix products, linear layers, and statistics of per-sample gradients. No arithmetic here.
#pragma once

#include "bindings/operations/names.h"

namespace steepest {

template <class B>
void export_products(py::module_& m) {
    py::list precisions;
    for (const PrecisionEntry& entry : kPrecisions) precisions.append(entry.name);
    m.attr("PRECISIONS") = py::tuple(precisions);

    define<B>(m, signature("matmul", "Array", arg::matrix("a"), arg::matrix("b"), arg::output("out"), arg::precision()),
              [](Call<B>& call, const Array& a, const Array& b, const Output& out, Precision precision) {
                  const Array product = call.output(out, {a.shape[0], b.shape[1]});
                  call.submit_float([&]<class T>() {
                      return ops::MatMul<T>{a.matrix<const T>(), b.matrix<const T>(), product.matrix<T>(), precision};
                  });
                  return product.object;
              });

    define<B>(m,
              signature("linear", "Array", arg::matrix("x"), arg::matrix("w"), arg::optional_vector("b"),
                        arg::activation("identity"), arg::output("out"), arg::precision()),
              [](Call<B>& call, const Array& x, const Array& w, const Array& b, Activation activation,
                 const Output& out, Precision precision) {
                  const Array y = call.output(out, {x.shape[0], w.shape[1]});
                  call.submit_float([&]<class T>() {
                      return ops::Linear<T>{x.matrix<const T>(), w.matrix<const T>(), b.vector<const T>(),
                                            y.matrix<T>(),       activation,          precision};
                  });
                  return y.object;
              });

    define<B>(
        m,
        signature("linear_bernoulli", "tuple[Array, Array]", arg::matrix("x"), arg::matrix("w"),
                  arg::optional_vector("b"), arg::optional_matrix("uniforms"), arg::output("means"),
                  arg::output("draws"), arg::keywords_only(), arg::word("seed", 0), arg::word_or_array("stream", 0),
                  arg::precision()),
        [](Call<B>& call, const Array& x, const Array& w, const Array& b, const Array& uniforms, const Output& means_,
           const Output& draws_, uint64_t seed, ScalarView<int64_t> stream, Precision precision) {
            const Array means = call.output(means_, {x.shape[0], w.shape[1]});
            const Array draws = call.output(draws_, {x.shape[0], w.shape[1]});
            call.submit_float([&]<class T>() {
                return ops::LinearBernoulli<T>{x.matrix<const T>(),
                                               w.matrix<const T>(),
                                               b.vector<const T>(),
                                               uniforms.matrix<const T>(),
                                               means.matrix<T>(),
                                               draws.matrix<T>(),
                                               seed,
                                               stream,
                                               precision};
            });
            return py::make_tuple(means.object, draws.object);
        });

    define<B>(m,
              signature("linear_backward", "tuple[Array | None, Array, Array]", arg::matrix("d_out"), arg::matrix("x"),
                        arg::matrix("w"), arg::activation("identity"), arg::number("l2", 0.0),
                        arg::flag("input_grad", true), arg::output("d_x"), arg::output("d_w"), arg::output("d_b"),
                        arg::precision(), arg::flag("accumulate", false)),
              [](Call<B>& call, const Array& d_out, const Array& x, const Array& w, Activation activation, double l2,
                 bool input_grad, const Output& d_x_, const Output& d_w_, const Output& d_b_, Precision precision,
                 bool accumulate) {
                  if (accumulate && (!d_w_.is_given() || !d_b_.is_given()))
                      reject_type(call.name(), "accumulate=True requires d_w and d_b");
                  const Array d_w = call.output(d_w_, w.shape_vector());
                  const Array d_b = call.output(d_b_, {w.shape[1]});
                  const Array d_x = input_grad ? call.output(d_x_, x.shape_vector()) : Array();
                  call.submit_float([&]<class T>() {
                      return ops::LinearBackward<T>{d_out.matrix<const T>(),
                                                    x.matrix<const T>(),
                                                    w.matrix<const T>(),
                                                    d_x.matrix<T>(),
                                                    d_w.matrix<T>(),
                                                    d_b.vector<T>(),
                                                    activation,
                                                    l2,
                                                    precision,
                                                    accumulate};
                  });
                  return py::make_tuple(input_grad ? d_x.object : py::none(), d_w.object, d_b.object);
              });

    define<B>(m,
              signature("linear_tangent", "Array", arg::matrix("x"), arg::matrix("v"), arg::optional_vector("c"),
                        arg::optional_matrix("dx"), arg::optional_matrix("w"), arg::keywords_only(),
                        arg::optional_matrix("y"), arg::activation("identity"), arg::output("out"), arg::precision()),
              [](Call<B>& call, const Array& x, const Array& v, const Array& c, const Array& dx, const Array& w,
                 const Array& y, Activation activation, const Output& out, Precision precision) {
                  const Array tangent = call.output(out, {x.shape[0], v.shape[1]});
                  call.submit_float([&]<class T>() {
                      return ops::LinearTangent<T>{x.matrix<const T>(),  v.matrix<const T>(), c.vector<const T>(),
                                                   dx.matrix<const T>(), w.matrix<const T>(), y.matrix<const T>(),
                                                   tangent.matrix<T>(),  activation,          precision};
                  });
                  return tangent.object;
              });
}

template <class B>
void export_gradient_products(py::module_& m) {
    define<B>(
        m,
        signature("gradient_gram", "Float64Array", arg::matrix("x"), arg::matrix("d"), arg::keywords_only(),
                  arg::flag("bias", false), arg::flag("accumulate", false), arg::output("out", "Float64Array | None")),
        [](Call<B>& call, const Array& x, const Array& d, bool bias, bool accumulate, const Output& out) {
            if (accumulate && !out.is_given()) ops::reject(call.name(), "accumulate=True requires out");
            const Array gram = call.output(out, {d.shape[0], d.shape[0]}, DType::kFloat64);
            call.submit_float([&]<class T>() {
                ops::GradientGram<T> op{x.matrix<const T>(), d.matrix<const T>(),   bias,
                                        accumulate,          gram.matrix<double>(), {}};
                op.check();
                if (const int64_t items = op.template workspace_items<B::kOnGpu>())
                    op.workspace = call.workspace(items).template vector<double>();
                return op;
            });
            return gram.object;
        });

    define<B>(
        m,
        signature("gradient_norms", "Float64Array", arg::matrix("x"), arg::matrix("d"), arg::keywords_only(),
                  arg::flag("bias", true), arg::flag("accumulate", false), arg::output("out", "Float64Array | None")),
        [](Call<B>& call, const Array& x, const Array& d, bool bias, bool accumulate, const Output& out) {
            if (accumulate && !out.is_given()) ops::reject(call.name(), "accumulate=True requires out");
            const Array norms = call.output(out, {d.shape[0]}, DType::kFloat64);
            call.submit_float([&]<class T>() {
                return ops::GradientNorms<T>{x.matrix<const T>(), d.matrix<const T>(), bias, accumulate,
                                             norms.vector<double>()};
            });
            return norms.object;
        });

    define<B>(m,
              signature("second_moment", "Array", arg::matrix("x"), arg::optional_vector("sample_weight"),
                        arg::keywords_only(), arg::flag("ones", false), arg::number("scale", 1.0),
                        arg::number_or_array("decay", 0.0), arg::output("out")),
              [](Call<B>& call, const Array& x, const Array& weight, bool ones, double scale, ScalarView<double> decay,
                 const Output& out) {
                  if (!out.is_given() && (decay.data || decay.value != 0))
                      ops::reject(call.name(), "a decay other than 0 requires out");
                  const int64_t size = x.shape[1] + (ones ? 1 : 0);
                  const Array moment = call.output(out, {size, size});
                  call.submit_float([&]<class T>() {
                      return ops::SecondMoment<T>{x.matrix<const T>(), weight.vector<const T>(), ones, scale, decay,
                                                  moment.matrix<T>()};
                  });
                  return moment.object;
              });
}

}  // namespace steepest
