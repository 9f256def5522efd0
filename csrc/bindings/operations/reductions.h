// The Python functions that reduce arrays, over an axis or by classes. No arithmetic here.
#pragma once

#include "bindings/signature.h"
#include "ops/all.h"

namespace steepest {

// The axis of an array of at most two dimensions, or -1 for all items.
template <class B>
int axis_of(Call<B>& call, const Array& x, py::handle axis) {
    if (axis.is_none()) return -1;
    const int64_t value = call.integer("axis", axis), positive = value < 0 ? value + x.ndim : value;
    if (positive < 0 || positive >= x.ndim || positive > 1)
        ops::reject(call.name(), "axis ", value, " does not fit an array of shape ", x.shape_text());
    return x.ndim == 1 ? -1 : static_cast<int>(positive);
}

template <class B>
void export_reductions(py::module_& m) {
    for (int kind = 0; kind < static_cast<int>(std::size(ops::kReductionNames)); ++kind)
        define<B>(m,
                  signature(ops::kReductionNames[kind], "Array", arg::array("x"),
                            arg::as_given("axis", "int | None", py::none()), arg::output("out")),
                  [kind](Call<B>& call, const Array& x, py::handle axis_, const Output& out) {
                      const int axis = axis_of(call, x, axis_);
                      if (axis < 0 ? !x.has_matrix_form() : x.ndim != 2)
                          ops::reject(call.name(), "x has shape ", x.shape_text(),
                                      "; reducing an axis requires a 2-D array, reducing all items a contiguous one");
                      std::vector<int64_t> shape;
                      if (axis >= 0) shape.push_back(x.shape[1 - axis]);
                      const Array reduced = call.output(out, shape);
                      call.submit_float([&]<class T>() {
                          VectorView<T> result{reinterpret_cast<T*>(reduced.data), 1, 1};
                          if (axis >= 0) result = reduced.vector<T>();
                          return ops::Reduce<T>{x.as_matrix<const T>(), result, static_cast<ops::Reduction>(kind),
                                                axis};
                      });
                      return reduced.object;
                  });

    define<B>(
        m,
        signature("argmax", "Int64Array", arg::matrix("x"), arg::as_given("axis", "int", py::int_(1)),
                  arg::output("out", "Int64Array | None")),
        [](Call<B>& call, const Array& x, py::handle axis, const Output& out) {
            if (axis_of(call, x, axis) != 1) ops::reject(call.name(), "axis must be 1: the largest item of each row");
            const Array at = call.output(out, {x.shape[0]}, DType::kInt64);
            call.submit_float([&]<class T>() { return ops::Argmax<T>{x.matrix<const T>(), at.vector<int64_t>()}; });
            return at.object;
        });

    define<B>(m,
              signature("cumsum", "Array", arg::array("x"), arg::as_given("axis", "int | None", py::none()),
                        arg::output("out")),
              [](Call<B>& call, const Array& x, py::handle axis_, const Output& out) {
                  const int axis = axis_of(call, x, axis_);
                  if (axis < 0 ? x.ndim != 1 && !x.is_contiguous() : x.ndim != 2)
                      ops::reject(call.name(), "x has shape ", x.shape_text(),
                                  "; summing along an axis requires a 2-D array, summing all items a contiguous one");
                  const Array sums = call.output(out, axis < 0 ? std::vector<int64_t>{x.size()} : x.shape_vector());
                  call.submit_float([&]<class T>() {
                      ops::Cumsum<T> op{x.as_matrix<const T>(), sums.as_matrix<T>(), {}};
                      if (axis < 0 && x.ndim != 1) op.x = {reinterpret_cast<const T*>(x.data), 1, x.size(), 0, 1};
                      if (axis == 0) op.x = op.x.transposed(), op.out = op.out.transposed();
                      if (const int64_t items = op.template workspace_items<B::kOnGpu>())
                          op.workspace = call.workspace(items).template vector<double>();
                      return op;
                  });
                  return sums.object;
              });

    define<B>(
        m,
        signature("class_scatter", "tuple[Float64Array, Float64Array, Float64Array]", arg::matrix("x"),
                  arg::integers_or_none("labels"), arg::matrix("centre"), arg::optional_vector("sample_weight"),
                  arg::keywords_only(), arg::flag("accumulate", false), arg::output("weights", "Float64Array | None"),
                  arg::output("sums", "Float64Array | None"), arg::output("scatter", "Float64Array | None")),
        [](Call<B>& call, const Array& x, const Array& labels, const Array& centre, const Array& weight,
           bool accumulate, const Output& weights_, const Output& sums_, const Output& scatter_) {
            if (accumulate && !(weights_.is_given() && sums_.is_given() && scatter_.is_given()))
                ops::reject(call.name(), "accumulate=True requires weights, sums and scatter");
            const int64_t d = x.shape[1], k = centre.shape[0];
            const Array weights = call.output(weights_, {k}, DType::kFloat64);
            const Array sums = call.output(sums_, {k, d}, DType::kFloat64);
            const Array scatter = call.output(scatter_, {d, d}, DType::kFloat64);
            call.submit_float([&]<class T>() {
                ops::ClassScatter<T> op;
                op.x = x.matrix<const T>(), op.labels = labels.integers(), op.centre = centre.matrix<const T>();
                op.sample_weight = weight.vector<const T>(), op.accumulate = accumulate;
                op.weights = weights.vector<double>(), op.sums = sums.matrix<double>();
                op.scatter = scatter.matrix<double>();
                op.check();
                op.workspace = call.workspace(op.template workspace_items<B::kOnGpu>()).template vector<double>();
                return op;
            });
            return py::make_tuple(weights.object, sums.object, scatter.object);
        });
}

}  // namespace steepest
