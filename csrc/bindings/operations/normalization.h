// The Python functions of layer, RMS, group and batch norm. No arithmetic here.
#pragma once

#include "bindings/operations/elementwise.h"

namespace steepest {

// How x divides into samples and groups; `groups` matters for group norm alone.
template <class B>
NormGroups norm_groups(const Call<B>& call, const Array& x, Norm norm, int64_t groups) {
    require_few_axes(call, "x", x);
    const int least = norm == Norm::kGroup || norm == Norm::kBatch ? 2 : 1;
    if (x.ndim < least)
        ops::reject(call.name(), "x has shape ", x.shape_text(), "; at least ", least,
                    least == 1 ? " dimension is needed" : " dimensions are needed");
    const int64_t channels = x.shape[x.ndim - 1], rows = product_of(x.shape, x.ndim - 1);
    switch (norm) {
        case Norm::kGroup: return {x.shape[0], product_of(x.shape + 1, x.ndim - 2), channels, groups};
        case Norm::kBatch: return {rows > 0, rows, channels, channels > 0 ? channels : 1};
        default: return {rows, 1, channels, 1};
    }
}

inline std::vector<int64_t> statistics_shape(Norm norm, const NormGroups& g) {
    if (norm == Norm::kGroup) return {g.samples, g.groups};
    return {norm == Norm::kBatch ? g.channels : g.samples};
}

// Statistics as a matrix with a row for each sample.
template <class T>
MatrixView<T> statistics_view(const Array& a, Norm norm) {
    if (!a || norm == Norm::kGroup) return a.matrix<T>();
    const VectorView<T> v = a.vector<T>();
    if (norm == Norm::kBatch) return {v.data, 1, v.size, 0, v.stride};
    return {v.data, v.size, 1, v.stride, 1};
}

// A tensor of x's extents; without items if it is absent.
template <class T>
TensorView<T> tensor_beside(const Array& a, const Array& x) {
    if (a) return a.tensor<T>();
    TensorView<T> absent{nullptr, x.ndim, {}, {}};
    for (int d = 0; d < x.ndim; ++d) absent.extent[d] = x.shape[d];
    return absent;
}

template <class B>
void require_shape_of_x(const Call<B>& call, const char* what, const Array& array, const Array& x) {
    if (array && !array.same_shape(x))
        ops::reject(call.name(), what, " has shape ", array.shape_text(), ", but x has shape ", x.shape_text());
}

// Statistics that an earlier call returned, and the groups that follow from their shape.
template <class B>
NormGroups groups_of_statistics(const Call<B>& call, Norm norm, const Array& x, const Array& mean, const Array& rstd) {
    const bool has_groups = norm == Norm::kGroup && rstd.ndim == 2;
    const NormGroups g = norm_groups(call, x, norm, has_groups ? rstd.shape[1] : 1);
    ops::require_groups(call.name(), g);
    const auto require_statistics = [&](const char* what, const Array& array) {
        if (array.shape_vector() != statistics_shape(norm, g))
            ops::reject(call.name(), what, " has shape ", array.shape_text(), "; ",
                        shape_text(statistics_shape(norm, g)), " is needed");
    };
    require_statistics("rstd", rstd);
    if (norm != Norm::kRms) require_statistics("mean", mean);
    return g;
}

// What the forward functions have in common; outputs that a function lacks are absent.
template <class B>
struct NormCall {
    Norm norm;
    int64_t groups = 1;
    double epsilon = 0, momentum = 0;
    bool given = false;
    Array x, weight, bias, running_mean, running_var;
    Output out, mean, rstd;

    py::object submit(Call<B>& call) const {
        const NormGroups g = norm_groups(call, x, norm, groups);
        ops::require_groups(call.name(), g);
        const Array y = call.output(out, x.shape_vector());
        const bool has_mean = !given && norm != Norm::kRms;
        const Array means = has_mean ? call.output(mean, statistics_shape(norm, g)) : Array();
        const Array deviations = given ? Array() : call.output(rstd, statistics_shape(norm, g));
        call.submit_float([&]<class T>() {
            ops::Normalize<T> op{norm, g, epsilon, given};
            op.x = x.tensor<const T>(), op.out = y.tensor<T>();
            op.weight = weight.vector<const T>(), op.bias = bias.vector<const T>();
            op.mean = statistics_view<T>(means, norm), op.rstd = statistics_view<T>(deviations, norm);
            op.momentum = momentum;
            op.running_mean = running_mean.vector<T>(), op.running_var = running_var.vector<T>();
            ops::join_rows(op.x, op.out);
            op.check();
            if (const int64_t items = op.template workspace_items<B::kOnGpu>())
                op.workspace = call.workspace(items).template vector<double>();
            return op;
        });
        if (given) return y.object;
        if (!has_mean) return py::make_tuple(y.object, deviations.object);
        return py::make_tuple(y.object, means.object, deviations.object);
    }
};

template <class B>
void export_norms(py::module_& m) {
    define<B>(
        m,
        signature("layer_norm", "tuple[Array, Array, Array]", arg::array("x"), arg::optional_vector("weight"),
                  arg::optional_vector("bias"), arg::keywords_only(), arg::not_negative("eps", 1e-5),
                  arg::output("out"), arg::output("mean"), arg::output("rstd")),
        [](Call<B>& call, const Array& x, const Array& weight, const Array& bias, double eps, const Output& out,
           const Output& mean, const Output& rstd) {
            return NormCall<B>{Norm::kLayer, 1, eps, 0, false, x, weight, bias, {}, {}, out, mean, rstd}.submit(call);
        });

    define<B>(
        m,
        signature("rms_norm", "tuple[Array, Array]", arg::array("x"), arg::optional_vector("weight"),
                  arg::keywords_only(), arg::not_negative("eps", 1e-5), arg::output("out"), arg::output("rstd")),
        [](Call<B>& call, const Array& x, const Array& weight, double eps, const Output& out, const Output& rstd) {
            return NormCall<B>{Norm::kRms, 1, eps, 0, false, x, weight, {}, {}, {}, out, {}, rstd}.submit(call);
        });

    define<B>(
        m,
        signature("group_norm", "tuple[Array, Array, Array]", arg::array("x"), arg::integer("groups"),
                  arg::optional_vector("weight"), arg::optional_vector("bias"), arg::keywords_only(),
                  arg::not_negative("eps", 1e-5), arg::output("out"), arg::output("mean"), arg::output("rstd")),
        [](Call<B>& call, const Array& x, int64_t groups, const Array& weight, const Array& bias, double eps,
           const Output& out, const Output& mean, const Output& rstd) {
            return NormCall<B>{Norm::kGroup, groups, eps, 0, false, x, weight, bias, {}, {}, out, mean, rstd}.submit(
                call);
        });

    define<B>(
        m,
        signature("batch_norm", "tuple[Array, Array, Array]", arg::array("x"), arg::optional_vector("weight"),
                  arg::optional_vector("bias"), arg::keywords_only(), arg::not_negative("eps", 1e-5),
                  arg::optional_changed_array("running_mean", 1), arg::optional_changed_array("running_var", 1),
                  arg::number("momentum", 0.1), arg::output("out"), arg::output("mean"), arg::output("rstd")),
        [](Call<B>& call, const Array& x, const Array& weight, const Array& bias, double eps, const Array& running_mean,
           const Array& running_var, double momentum, const Output& out, const Output& mean, const Output& rstd) {
            return NormCall<B>{Norm::kBatch, 1,           eps, momentum, false, x, weight, bias,
                               running_mean, running_var, out, mean,     rstd}
                .submit(call);
        });

    define<B>(m,
              signature("batch_norm_inference", "Array", arg::array("x"), arg::vector("running_mean"),
                        arg::vector("running_var"), arg::optional_vector("weight"), arg::optional_vector("bias"),
                        arg::keywords_only(), arg::not_negative("eps", 1e-5), arg::output("out")),
              [](Call<B>& call, const Array& x, const Array& running_mean, const Array& running_var,
                 const Array& weight, const Array& bias, double eps, const Output& out) {
                  return NormCall<B>{Norm::kBatch, 1,           eps, 0,  true, x, weight, bias,
                                     running_mean, running_var, out, {}, {}}
                      .submit(call);
              });
}

template <class B>
py::object norm_backward(Call<B>& call, Norm norm, const Array& d_y, const Array& x, const Array& mean,
                         const Array& rstd, const Array& weight, const Output& d_x_, const Output& d_weight_,
                         const Output& d_bias_, bool accumulate, bool input_grad, bool parameter_grad) {
    require_shape_of_x(call, "d_y", d_y, x);
    const NormGroups g = groups_of_statistics(call, norm, x, mean, rstd);
    const bool has_bias = norm != Norm::kRms;
    if (accumulate && !(d_weight_.is_given() && (d_bias_.is_given() || !has_bias)))
        ops::reject(call.name(), "accumulate=True requires ", has_bias ? "d_weight and d_bias" : "d_weight");
    const Array d_x = input_grad ? call.output(d_x_, x.shape_vector()) : Array();
    const Array d_weight = parameter_grad ? call.output(d_weight_, {g.channels}) : Array();
    const Array d_bias = parameter_grad && has_bias ? call.output(d_bias_, {g.channels}) : Array();
    call.submit_float([&]<class T>() {
        ops::NormalizeBackward<T> op{norm, g, accumulate};
        op.d_y = d_y.tensor<const T>(), op.x = x.tensor<const T>(), op.d_x = tensor_beside<T>(d_x, x);
        op.mean = statistics_view<const T>(mean, norm), op.rstd = statistics_view<const T>(rstd, norm);
        op.weight = weight.vector<const T>();
        op.d_weight = d_weight.vector<T>(), op.d_bias = d_bias.vector<T>();
        ops::join_rows(op.x, op.d_y, op.d_x);
        op.check();
        if (const int64_t items = op.template workspace_items<B::kOnGpu>())
            op.workspace = call.workspace(items).template vector<double>();
        return op;
    });
    const auto result = [](const Array& array) { return array ? array.object : py::object(py::none()); };
    if (!has_bias) return py::make_tuple(result(d_x), result(d_weight));
    return py::make_tuple(result(d_x), result(d_weight), result(d_bias));
}

template <class B>
py::object norm_tangent(Call<B>& call, Norm norm, const Array& dx, const Array& x, const Array& mean, const Array& rstd,
                        const Array& weight, const Array& d_weight, const Array& d_bias, const Output& out_) {
    require_shape_of_x(call, "dx", dx, x);
    const NormGroups g = groups_of_statistics(call, norm, x, mean, rstd);
    const Array out = call.output(out_, x.shape_vector());
    call.submit_float([&]<class T>() {
        ops::NormalizeTangent<T> op{norm, g};
        op.dx = tensor_beside<const T>(dx, x), op.x = x.tensor<const T>(), op.out = out.tensor<T>();
        op.mean = statistics_view<const T>(mean, norm), op.rstd = statistics_view<const T>(rstd, norm);
        op.weight = weight.vector<const T>();
        op.d_weight = d_weight.vector<const T>(), op.d_bias = d_bias.vector<const T>();
        ops::join_rows(op.x, op.dx, op.out);
        op.check();
        if (const int64_t items = op.template workspace_items<B::kOnGpu>())
            op.workspace = call.workspace(items).template vector<double>();
        return op;
    });
    return out.object;
}

template <class B>
void export_norm_gradients(py::module_& m) {
    // Layer, group and batch norm differ in the shape of their statistics.
    static constexpr struct {
        Norm norm;
        int statistics;
        const char *backward, *tangent;
    } kNorms[] = {{Norm::kLayer, 1, "layer_norm_backward", "layer_norm_tangent"},
                  {Norm::kGroup, 2, "group_norm_backward", "group_norm_tangent"},
                  {Norm::kBatch, 1, "batch_norm_backward", "batch_norm_tangent"}};
    for (const auto& entry : kNorms) {
        define<B>(m,
                  signature(entry.backward, "tuple[Array | None, Array | None, Array | None]", arg::array("d_y"),
                            arg::array("x"), arg::array("mean", entry.statistics), arg::array("rstd", entry.statistics),
                            arg::optional_vector("weight"), arg::keywords_only(), arg::output("d_x"),
                            arg::output("d_weight"), arg::output("d_bias"), arg::flag("accumulate", false),
                            arg::flag("input_grad", true), arg::flag("parameter_grad", true)),
                  [norm = entry.norm](Call<B>& call, const Array& d_y, const Array& x, const Array& mean,
                                      const Array& rstd, const Array& weight, const Output& d_x, const Output& d_weight,
                                      const Output& d_bias, bool accumulate, bool input_grad, bool parameter_grad) {
                      return norm_backward(call, norm, d_y, x, mean, rstd, weight, d_x, d_weight, d_bias, accumulate,
                                           input_grad, parameter_grad);
                  });
        define<B>(
            m,
            signature(entry.tangent, "Array", arg::array_or_none("dx"), arg::array("x"),
                      arg::array("mean", entry.statistics), arg::array("rstd", entry.statistics),
                      arg::optional_vector("weight"), arg::optional_vector("d_weight"), arg::optional_vector("d_bias"),
                      arg::output("out")),
            [norm = entry.norm](Call<B>& call, const Array& dx, const Array& x, const Array& mean, const Array& rstd,
                                const Array& weight, const Array& d_weight, const Array& d_bias, const Output& out) {
                return norm_tangent(call, norm, dx, x, mean, rstd, weight, d_weight, d_bias, out);
            });
    }

    define<B>(m,
              signature("rms_norm_backward", "tuple[Array | None, Array | None]", arg::array("d_y"), arg::array("x"),
                        arg::vector("rstd"), arg::optional_vector("weight"), arg::keywords_only(), arg::output("d_x"),
                        arg::output("d_weight"), arg::flag("accumulate", false), arg::flag("input_grad", true),
                        arg::flag("parameter_grad", true)),
              [](Call<B>& call, const Array& d_y, const Array& x, const Array& rstd, const Array& weight,
                 const Output& d_x, const Output& d_weight, bool accumulate, bool input_grad, bool parameter_grad) {
                  return norm_backward(call, Norm::kRms, d_y, x, {}, rstd, weight, d_x, d_weight,
                                       {"d_bias", py::none()}, accumulate, input_grad, parameter_grad);
              });

    define<B>(m,
              signature("rms_norm_tangent", "Array", arg::array_or_none("dx"), arg::array("x"), arg::vector("rstd"),
                        arg::optional_vector("weight"), arg::optional_vector("d_weight"), arg::output("out")),
              [](Call<B>& call, const Array& dx, const Array& x, const Array& rstd, const Array& weight,
                 const Array& d_weight, const Output& out) {
                  return norm_tangent(call, Norm::kRms, dx, x, {}, rstd, weight, d_weight, {}, out);
              });
}

template <class B>
void export_normalization(py::module_& m) {
    export_norms<B>(m);
    export_norm_gradients<B>(m);
}

}  // namespace steepest
