// The Python functions that gather rows. No arithmetic here.
#pragma once

#include "bindings/signature.h"
#include "ops/all.h"

namespace steepest {

// Rows as bytes, whatever their dtype.
template <class C>
MatrixView<C> row_bytes(const Array& a) {
    const int64_t bytes = (a.ndim == 2 ? a.shape[1] : 1) * a.item_bytes;
    return {reinterpret_cast<C*>(a.data), a.shape[0], bytes, a.strides[0], 1};
}

// The index arrays of a sparse matrix have int32 or int64, like SciPy's.
template <class B>
void require_sparse_index(const Call<B>& call, const char* what, const Array& array) {
    if (array.dtype != DType::kInt32 && array.dtype != DType::kInt64)
        reject_type(call.name(), what, " has dtype ", name_of(array.dtype), "; int32 or int64 is needed");
}

// The number of rows from `start` on, of a call without `out`.
template <class B>
int64_t rows_from(const Call<B>& call, const Array& indices, const ScalarView<int64_t>& start) {
    if (start.data) reject_type(call.name(), "out is required if start is an array: its length is the number of rows");
    if (start.value < 0 || start.value > indices.shape[0])
        throw py::index_error("[" + std::string(call.name()) + "] start " + std::to_string(start.value) +
                              " is outside 0.." + std::to_string(indices.shape[0]));
    return indices.shape[0] - start.value;
}

// Raises an error unless the rows of x can be copied as bytes.
template <class B>
void require_rows_of_bytes(Call<B>& call, const Array& x) {
    if (py::cast<bool>(x.object.attr("dtype").attr("hasobject")))
        reject_type(call.name(), "x has dtype ", call.dtype_text(x),
                    ", which holds references to Python objects; its rows cannot be copied as bytes");
    if (x.ndim != 1 && x.ndim != 2) ops::reject(call.name(), "x must be 1-D or 2-D, but has shape ", x.shape_text());
    if (!x.has_contiguous_rows()) ops::reject(call.name(), "the rows of x must be contiguous");
}

// Raises an error unless rows of x can be written into out.
template <class B>
void require_rows_like(Call<B>& call, const Array& out, const Array& x) {
    if (out.ndim != x.ndim || (x.ndim == 2 && out.shape[1] != x.shape[1]))
        ops::reject(call.name(), "out has shape ", out.shape_text(), ", but x has shape ", x.shape_text());
    if (!out.object.attr("dtype").equal(x.object.attr("dtype")))
        reject_type(call.name(), "out has dtype ", call.dtype_text(out), ", but x has ", call.dtype_text(x));
    if (!out.has_contiguous_rows()) ops::reject(call.name(), "the rows of out must be contiguous");
    call.require_writeable("out", out);
}

template <class B>
void export_rows(py::module_& m) {
    define<B>(m,
              signature("take_rows", "Array", arg::any_array("x"), arg::integers("indices"), arg::output("out"),
                        arg::keywords_only(), arg::start_or_array("start")),
              [](Call<B>& call, const Array& x, const Array& indices, const Output& out_, ScalarView<int64_t> start) {
                  require_rows_of_bytes(call, x);
                  std::vector<int64_t> shape = x.shape_vector();
                  if (!out_.is_given()) shape[0] = rows_from(call, indices, start);
                  Array out = out_.is_given() ? call.borrow("out", out_.given) : call.new_like(x, shape);
                  shape[0] = out.ndim > 0 ? out.shape[0] : 0;
                  require_rows_like(call, out, x);
                  call.submit(ops::TakeRows{row_bytes<const char>(x), indices.integers(), start, row_bytes<char>(out)});
                  return out.object;
              });

    define<B>(m,
              signature("put_rows", "Array", arg::any_array("x"), arg::integers("indices"), arg::any_array("out"),
                        arg::keywords_only(), arg::start_or_array("start")),
              [](Call<B>& call, const Array& x, const Array& indices, const Array& out, ScalarView<int64_t> start) {
                  require_rows_of_bytes(call, x), require_rows_like(call, out, x);
                  call.submit(ops::PutRows{row_bytes<const char>(x), indices.integers(), start, row_bytes<char>(out)});
                  return out.object;
              });

    define<B>(m,
              signature("take_sparse_rows", "Array", arg::vector("data"), arg::integers("indices"),
                        arg::integers("indptr"), arg::integers("rows"), arg::changed_array("out", 2),
                        arg::keywords_only(), arg::start_or_array("start")),
              [](Call<B>& call, const Array& data, const Array& indices, const Array& indptr, const Array& rows,
                 const Array& out, ScalarView<int64_t> start) {
                  require_sparse_index(call, "indices", indices), require_sparse_index(call, "indptr", indptr);
                  call.submit_float([&]<class T>() {
                      return ops::TakeSparseRows<T>{
                          data.vector<const T>(), indices.integers(), indptr.integers(), rows.integers(), start,
                          out.matrix<T>()};
                  });
                  return out.object;
              });
}

}  // namespace steepest
