// The Python functions that move, reduce, count and draw, as operations.h has those of the models.
#pragma once

#include "bindings/call.h"
#include "ops/all.h"

namespace steepest {

template <class B>
struct Reductions {
    static py::object reduce(py::handle x_, py::handle axis_, py::handle out_, ops::Reduction kind) {
        Call<B> call(ops::kReductionNames[static_cast<int>(kind)]);
        const Array x = call.floats("x", x_, -1);
        const int axis = checked_axis(call, x, axis_);
        if (axis < 0 ? !x.has_matrix_form() : x.ndim != 2)
            ops::reject(call.name(), "x has shape ", x.shape_text(),
                        "; an axis is reduced in 2-D arrays, all items in contiguous ones");
        std::vector<int64_t> shape;
        if (axis >= 0) shape.push_back(x.shape[1 - axis]);
        const Array out = call.output("out", out_, shape);
        call.submit_float([&]<class T>() {
            VectorView<T> result{reinterpret_cast<T*>(out.data), 1, 1};
            if (axis >= 0) result = out.vector<T>();
            return ops::Reduce<T>{x.as_matrix<const T>(), result, kind, axis};
        });
        return out.object;
    }

    static py::object argmax(py::handle x_, py::handle axis_, py::handle out_) {
        Call<B> call("argmax");
        const Array x = call.floats("x", x_, 2);
        const int axis = checked_axis(call, x, axis_);
        if (axis != 1) ops::reject(call.name(), "axis must be 1: the largest item of each row");
        const Array out = call.output("out", out_, {x.shape[0]}, DType::kInt64);
        call.submit_float([&]<class T>() { return ops::Argmax<T>{x.matrix<const T>(), out.vector<int64_t>()}; });
        return out.object;
    }

    static py::tuple class_scatter(py::handle x_, py::handle labels_, py::handle centre_, py::handle weight_,
                                   py::handle accumulate_, py::handle weights_, py::handle sums_, py::handle scatter_) {
        Call<B> call("class_scatter");
        const bool accumulate = call.flag("accumulate", accumulate_);
        const Array x = call.floats("x", x_, 2);
        const Array labels = labels_.is_none() ? Array() : call.integers("labels", labels_);
        const Array centre = call.floats("centre", centre_, 2),
                    weight = call.optional_floats("sample_weight", weight_, 1);
        if (accumulate && (weights_.is_none() || sums_.is_none() || scatter_.is_none()))
            ops::reject(call.name(), "weights, sums and scatter are needed to add to");
        const int64_t d = x.shape[1], k = centre.shape[0];
        const Array weights = call.output("weights", weights_, {k}, DType::kFloat64);
        const Array sums = call.output("sums", sums_, {k, d}, DType::kFloat64);
        const Array scatter = call.output("scatter", scatter_, {d, d}, DType::kFloat64);
        call.submit_float([&]<class T>() {
            ops::ClassScatter<T> op;
            op.x = x.matrix<const T>(), op.labels = labels.integers(), op.centre = centre.matrix<const T>();
            op.sample_weight = weight.vector<const T>(), op.accumulate = accumulate;
            op.weights = weights.vector<double>(), op.sums = sums.matrix<double>();
            op.scatter = scatter.matrix<double>();
            op.check();
            const Array workspace =
                call.output("workspace", py::none(), {op.template workspace_items<B::kOnGpu>()}, DType::kFloat64);
            op.workspace = workspace.vector<double>();
            return op;
        });
        return py::make_tuple(weights.object, sums.object, scatter.object);
    }

    static int checked_axis(Call<B>& call, const Array& x, py::handle axis) {
        if (axis.is_none()) return -1;
        const int64_t value = call.integer("axis", axis), positive = value < 0 ? value + x.ndim : value;
        if (positive < 0 || positive >= x.ndim || positive > 1)
            ops::reject(call.name(), "axis ", value, " does not fit an array of shape ", x.shape_text());
        return x.ndim == 1 ? -1 : static_cast<int>(positive);
    }
};

template <class B>
struct Data {
    static py::object take_rows(py::handle x_, py::handle indices_, py::handle out_, py::handle start_) {
        Call<B> call("take_rows");
        const Array x = call.borrow("x", x_), indices = call.integers("indices", indices_);
        if (py::cast<bool>(x.object.attr("dtype").attr("hasobject")))
            reject_type(call.name(), "x has dtype ", call.dtype_text(x),
                        ", which holds references to objects; their rows cannot be moved as bytes");
        if (indices.dtype != DType::kInt64)
            reject_type(call.name(), "indices have dtype ", name_of(indices.dtype), "; int64 is needed");
        if (x.ndim != 1 && x.ndim != 2)
            ops::reject(call.name(), "x must be 1-D or 2-D, but has shape ", x.shape_text());
        if (!x.has_contiguous_rows()) ops::reject(call.name(), "the rows of x must be contiguous");
        const auto start = start_.is_none() ? ScalarView<int64_t>{} : call.template scalar<int64_t>("start", start_);
        if (start.data && out_.is_none())
            reject_type(call.name(), "out is needed where start is an array, for its length");
        std::vector<int64_t> shape = x.shape_vector();
        if (out_.is_none()) {
            if (start.value < 0 || start.value > indices.shape[0])
                throw py::index_error("[take_rows] start " + std::to_string(start.value) + " is outside 0.." +
                                      std::to_string(indices.shape[0]));
            shape[0] = indices.shape[0] - start.value;
        }
        Array out = out_.is_none() ? call.new_like(x, shape) : call.borrow("out", out_);
        shape[0] = out.ndim > 0 ? out.shape[0] : 0;
        if (out.ndim != x.ndim || (x.ndim == 2 && out.shape[1] != x.shape[1]))
            ops::reject(call.name(), "out has shape ", out.shape_text(), ", but x has shape ", x.shape_text());
        if (!out.object.attr("dtype").equal(x.object.attr("dtype")))
            reject_type(call.name(), "out has dtype ", call.dtype_text(out), ", but x has ", call.dtype_text(x));
        if (!out.has_contiguous_rows()) ops::reject(call.name(), "the rows of out must be contiguous");
        call.require_writeable("out", out);
        call.submit(ops::TakeRows{bytes<const char>(x), indices.vector<const int64_t>(), start, bytes<char>(out)});
        return out.object;
    }

    static py::object take_sparse_rows(py::handle data_, py::handle indices_, py::handle indptr_, py::handle rows_,
                                       py::handle out_, py::handle start_) {
        Call<B> call("take_sparse_rows");
        const Array data = call.floats("data", data_, 1);
        const Array indices = numbers(call, "indices", indices_), indptr = numbers(call, "indptr", indptr_);
        const Array rows = call.integers("rows", rows_);
        if (rows.dtype != DType::kInt64)
            reject_type(call.name(), "rows have dtype ", name_of(rows.dtype), "; int64 is needed");
        const auto start = start_.is_none() ? ScalarView<int64_t>{} : call.template scalar<int64_t>("start", start_);
        const Array out = call.in_place("out", out_, 2);
        call.submit_float([&]<class T>() {
            return ops::TakeSparseRows<T>{
                data.vector<const T>(), indices.integers(), indptr.integers(), rows.vector<const int64_t>(), start,
                out.matrix<T>()};
        });
        return out.object;
    }

    // Of a sparse matrix, as SciPy has them.
    static Array numbers(Call<B>& call, const char* what, py::handle object) {
        const Array array = call.integers(what, object);
        if (array.dtype != DType::kInt32 && array.dtype != DType::kInt64)
            reject_type(call.name(), what, " has dtype ", name_of(array.dtype), "; int32 or int64 is needed");
        return array;
    }

    template <class C>
    static MatrixView<C> bytes(const Array& a) {
        const int64_t row_bytes = (a.ndim == 2 ? a.shape[1] : 1) * a.item_bytes;
        return {reinterpret_cast<C*>(a.data), a.shape[0], row_bytes, a.strides[0], 1};
    }

    static void increment(py::handle counter, py::handle by) {
        Call<B> call("increment");
        int64_t* const count = call.template written_scalar<int64_t>("counter", counter);
        call.submit(ops::Increment{count, call.integer("by", by)});
    }

    static void accumulate(py::handle total, py::handle value, py::handle scale) {
        Call<B> call("accumulate");
        double* const sum = call.template written_scalar<double>("total", total);
        call.submit(ops::Accumulate{sum, call.template scalar<double>("value", value), call.number("scale", scale)});
    }

    static py::object look_up(py::handle table_, py::handle index, py::handle out_) {
        Call<B> call("look_up");
        const Array table = call.floats("table", table_, 1);
        if (table.dtype != DType::kFloat64)
            reject_type(call.name(), "table has dtype ", name_of(table.dtype), "; float64 is needed");
        const auto i = call.template scalar<int64_t>("index", index);
        const Array out = call.output("out", out_, {}, DType::kFloat64);
        call.submit(ops::LookUp{table.vector<const double>(), i, reinterpret_cast<double*>(out.data)});
        return out.object;
    }

    static void require_finite(py::handle value_) {
        Call<B> call("require_finite");
        const auto value = call.template scalar<double>("value", value_);
        if (!value.data) reject_type(call.name(), "value must be a 0-d float64 array");
        call.submit(ops::RequireFinite{value.data});
    }
};

template <class B>
struct Randomness {
    static py::object random_uniform(py::handle shape_, py::handle low_, py::handle high_, py::handle seed_,
                                     py::handle stream_, py::handle dtype_, py::handle out_) {
        Call<B> call("random_uniform");
        const std::vector<int64_t> shape = call.shape("shape", shape_);
        const double low = call.number("low", low_), high = call.number("high", high_);
        const uint64_t seed = call.word("seed", seed_), stream = call.word("stream", stream_);
        const std::string dtype = call.text("dtype", dtype_);
        if (dtype != "float32" && dtype != "float64")
            reject_type(call.name(), "dtype ", dtype, " is not float32 or float64");
        const DType type = dtype == "float32" ? DType::kFloat32 : DType::kFloat64;
        const Array out = call.output("out", out_, shape, type);
        if (!out.is_contiguous()) ops::reject(call.name(), "out must be contiguous");
        if (type == DType::kFloat32)
            call.submit(ops::RandomUniform<float>{out.as_row<float>(), low, high, seed, stream});
        else
            call.submit(ops::RandomUniform<double>{out.as_row<double>(), low, high, seed, stream});
        return out.object;
    }

    static py::object random_bits(py::handle n_, py::handle seed_, py::handle stream_, py::handle out_) {
        Call<B> call("random_bits");
        const int64_t n = call.integer("n", n_);
        const uint64_t seed = call.word("seed", seed_), stream = call.word("stream", stream_);
        if (n < 0) ops::reject(call.name(), "n is ", n, "; it must not be negative");
        const Array out = call.output("out", out_, {n}, DType::kUint64);
        call.submit(ops::RandomBits{out.vector<uint64_t>(), seed, stream});
        return out.object;
    }
};

}  // namespace steepest
