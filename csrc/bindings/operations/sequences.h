// The Python functions of embeddings, positions and pooled sequences. No arithmetic here.
#pragma once

#include "bindings/operations/spans.h"
#include "ops/all.h"

namespace steepest {

// The position of the first row of all sequences, or of each of them.
struct FirstPositions {
    ScalarView<int64_t> all;
    VectorView<const int64_t> each;
};

namespace arg {

inline auto first_positions(const char* name) {
    return optional(name, "int | Int64Array", py::int_(0), [](auto& call, const char* what, py::handle given) {
        if (call.is_array(given) && call.borrow(what, given).ndim > 0)
            return FirstPositions{{}, call.int64s(what, given).template vector<const int64_t>()};
        return FirstPositions{call.template scalar<int64_t>(what, given), {}};
    });
}

inline auto span_pooling(const char* name) {
    return optional(name, "str", py::str("mean"), [](auto& call, const char* what, py::handle given) {
        return call.entry(what, given, ops::kSpanPoolings).kind;
    });
}

// The rows of maxima.
inline auto row_indices(const char* name) {
    return required(name, "Int64Array",
                    [](auto& call, const char* what, py::handle given) { return call.int64s(what, given, 2); });
}

inline auto optional_row_indices(const char* name) {
    return optional(name, "Int64Array | None", py::none(), [](auto& call, const char* what, py::handle given) {
        return given.is_none() ? Array() : call.int64s(what, given, 2);
    });
}

}  // namespace arg

template <class B>
void export_embeddings(py::module_& m) {
    define<B>(m,
              signature("embedding_backward", "Array", arg::matrix("d_out"), arg::integers("ids"),
                        arg::changed_array("out", 2), arg::keywords_only(), arg::flag("accumulate", false)),
              [](Call<B>& call, const Array& d_out, const Array& ids, const Array& out, bool accumulate) {
                  call.submit_float([&]<class T>() {
                      return ops::EmbeddingBackward<T>{d_out.matrix<const T>(), ids.integers(), out.matrix<T>(),
                                                       accumulate};
                  });
                  return out.object;
              });

    define<B>(m,
              signature("positions", "Int64Array", arg::integer("rows"), arg::spans("spans"),
                        arg::integer("sequences", 1), arg::output("out", "Int64Array | None")),
              [](Call<B>& call, int64_t rows, const Array& table, int64_t sequences, const Output& out) {
                  if (rows < 0) ops::reject(call.name(), "rows is ", rows, "; it must not be negative");
                  const Spans spans = spans_of(call, "spans", table, sequences, rows);
                  const Array places = output_of_steps(call, out, {rows}, DType::kInt64, table);
                  call.submit(ops::Positions{spans, places.vector<int64_t>()});
                  return places.object;
              });

    define<B>(m,
              signature("rotary", "Array", arg::matrix("x"), arg::integer("heads"), arg::spans("spans"),
                        arg::integer("sequences", 1), arg::first_positions("first"), arg::number("base", 10000.0),
                        arg::flag("inverse", false), arg::output("out")),
              [](Call<B>& call, const Array& x, int64_t heads, const Array& table, int64_t sequences,
                 const FirstPositions& first, double base, bool inverse, const Output& out) {
                  const Spans spans = spans_of(call, "spans", table, sequences, x.shape[0]);
                  const Array y = output_of_steps(call, out, x.shape_vector(), call.dtype(), table);
                  call.submit_float([&]<class T>() {
                      return ops::Rotary<T>{x.matrix<const T>(), heads, spans,   first.each,
                                            first.all,           base,  inverse, y.matrix<T>()};
                  });
                  return y.object;
              });
}

template <class B>
void export_pooled_spans(py::module_& m) {
    define<B>(m,
              signature("pool_spans", "Array", arg::matrix("x"), arg::spans("spans"), arg::integer("sequences", 1),
                        arg::span_pooling("mode"), arg::output("out"), arg::output("index", "Int64Array | None")),
              [](Call<B>& call, const Array& x, const Array& table, int64_t sequences, ops::SpanPooling kind,
                 const Output& out, const Output& index_) {
                  const Spans spans = spans_of(call, "spans", table, sequences, x.shape[0]);
                  const std::vector<int64_t> shape{spans.count, x.shape[1]};
                  const Array y = call.output(out, shape);
                  const Array index = index_.is_given() ? call.output(index_, shape, DType::kInt64) : Array();
                  call.submit_float([&]<class T>() {
                      return ops::PoolSpans<T>{x.matrix<const T>(), spans, kind, y.matrix<T>(),
                                               index.matrix<int64_t>()};
                  });
                  return y.object;
              });

    define<B>(m,
              signature("pool_spans_backward", "Array", arg::matrix("d_y"), arg::spans("spans"),
                        arg::integer("sequences", 1), arg::span_pooling("mode"), arg::optional_row_indices("index"),
                        arg::keywords_only(), arg::changed_array("d_x", 2)),
              [](Call<B>& call, const Array& d_y, const Array& table, int64_t sequences, ops::SpanPooling kind,
                 const Array& index, const Array& d_x) {
                  const Spans spans = spans_of(call, "spans", table, sequences, d_x.shape[0]);
                  call.submit_float([&]<class T>() {
                      return ops::PoolSpansBackward<T>{d_y.matrix<const T>(), spans, kind,
                                                       index.matrix<const int64_t>(), d_x.matrix<T>()};
                  });
                  return d_x.object;
              });

    define<B>(
        m, signature("pool_spans_gather", "Array", arg::matrix("dx"), arg::row_indices("index"), arg::output("out")),
        [](Call<B>& call, const Array& dx, const Array& index, const Output& out) {
            const Array y = call.output(out, {index.shape[0], dx.shape[1]});
            call.submit_float([&]<class T>() {
                return ops::PoolSpansGather<T>{dx.matrix<const T>(), index.matrix<const int64_t>(), y.matrix<T>()};
            });
            return y.object;
        });
}

}  // namespace steepest
