// The Python functions of recurrent layers. No arithmetic here.
#pragma once

#include "bindings/operations/spans.h"
#include "ops/all.h"

namespace steepest {

namespace arg {

inline auto cell() {
    return required("cell", "str", [](auto& call, const char* what, py::handle given) {
        return call.entry(what, given, kCells).kind;
    });
}

}  // namespace arg

// What the functions have in common: the layer, for `rows` rows.
template <class T, class B>
ops::RecurrentLayer<T> recurrent_layer(const Call<B>& call, CellKind cell, const Array& weight, const Array& bias,
                                       const Array& h0, const Array& c0, const Array& spans, int64_t sequences,
                                       int64_t rows, bool reverse) {
    return {cell,
            weight.matrix<const T>(),
            bias.vector<const T>(),
            h0.matrix<const T>(),
            c0.matrix<const T>(),
            spans_of(call, "spans", spans, sequences, rows),
            reverse};
}

template <class B>
void export_recurrence(py::module_& m) {
    py::list cells;
    for (const CellInfo& info : kCells) cells.append(info.name);
    m.attr("RECURRENT_CELLS") = py::tuple(cells);

    define<B>(
        m,
        signature("recurrence", "tuple[Array, Array | None]", arg::changed_array("gates", 2), arg::matrix("weight"),
                  arg::cell(), arg::keywords_only(), arg::optional_vector("bias"), arg::optional_matrix("h0"),
                  arg::optional_matrix("c0"), arg::spans("spans"), arg::integer("sequences", 1),
                  arg::flag("reverse", false), arg::flag("keep", true), arg::output("out"), arg::output("kept"),
                  arg::optional_changed_array("h_last", 2), arg::optional_changed_array("c_last", 2)),
        [](Call<B>& call, const Array& gates, const Array& weight, CellKind cell, const Array& bias, const Array& h0,
           const Array& c0, const Array& spans, int64_t sequences, bool reverse, bool keep, const Output& out_,
           const Output& kept_, const Array& h_last, const Array& c_last) {
            const std::vector<int64_t> shape{gates.shape[0], weight.shape[0]};
            const Array out = call.output(out_, shape);
            const Array kept = keep && info_of(cell).keeps ? call.output(kept_, shape) : Array();
            call.submit_float([&]<class T>() {
                return ops::Recurrence<T>{
                    recurrent_layer<T>(call, cell, weight, bias, h0, c0, spans, sequences, gates.shape[0], reverse),
                    gates.matrix<T>(),
                    out.matrix<T>(),
                    kept.matrix<T>(),
                    h_last.matrix<T>(),
                    c_last.matrix<T>()};
            });
            return py::make_tuple(out.object, kept ? kept.object : py::none());
        });

    define<B>(m,
              signature("recurrence_backward", "tuple[Array, Array, Array | None]", arg::array_or_none("d_out"),
                        arg::matrix("gates"), arg::matrix("out"), arg::array_or_none("kept"), arg::matrix("weight"),
                        arg::cell(), arg::keywords_only(), arg::optional_matrix("h0"), arg::optional_matrix("c0"),
                        arg::optional_matrix("d_h_last"), arg::optional_matrix("d_c_last"), arg::spans("spans"),
                        arg::integer("sequences", 1), arg::flag("reverse", false), arg::output("d_gates"),
                        arg::output("before"), arg::output("inner"), arg::optional_changed_array("d_h0", 2),
                        arg::optional_changed_array("d_c0", 2)),
              [](Call<B>& call, const Array& d_out, const Array& gates, const Array& out, const Array& kept,
                 const Array& weight, CellKind cell, const Array& h0, const Array& c0, const Array& d_h_last,
                 const Array& d_c_last, const Array& spans, int64_t sequences, bool reverse, const Output& d_gates_,
                 const Output& before_, const Output& inner_, const Array& d_h0, const Array& d_c0) {
                  const std::vector<int64_t> shape{gates.shape[0], weight.shape[0]};
                  if (d_out) call.require_dims("d_out", d_out, 2);
                  if (kept) call.require_dims("kept", kept, 2);
                  const CellInfo& info = info_of(cell);
                  const Array d_gates = call.output(d_gates_, gates.shape_vector());
                  const Array before = call.output(before_, shape);
                  const Array inner = info.has_inner_bias || info.resets_first ? call.output(inner_, shape) : Array();
                  call.submit_float([&]<class T>() {
                      return ops::RecurrenceBackward<T>{
                          recurrent_layer<T>(call, cell, weight, {}, h0, c0, spans, sequences, gates.shape[0], reverse),
                          gates.matrix<const T>(),
                          out.matrix<const T>(),
                          kept.matrix<const T>(),
                          d_out.matrix<const T>(),
                          d_h_last.matrix<const T>(),
                          d_c_last.matrix<const T>(),
                          d_gates.matrix<T>(),
                          before.matrix<T>(),
                          inner.matrix<T>(),
                          d_h0.matrix<T>(),
                          d_c0.matrix<T>()};
                  });
                  return py::make_tuple(d_gates.object, before.object, inner ? inner.object : py::none());
              });

    define<B>(
        m,
        signature("recurrence_tangent", "Array", arg::array_or_none("moved"), arg::matrix("gates"), arg::matrix("out"),
                  arg::array_or_none("kept"), arg::matrix("weight"), arg::cell(), arg::keywords_only(),
                  arg::optional_matrix("h0"), arg::optional_matrix("c0"), arg::optional_matrix("moved_weight"),
                  arg::optional_vector("moved_bias"), arg::optional_matrix("moved_h0"),
                  arg::optional_matrix("moved_c0"), arg::spans("spans"), arg::integer("sequences", 1),
                  arg::flag("reverse", false), arg::output("moved_out"), arg::optional_changed_array("moved_h_last", 2),
                  arg::optional_changed_array("moved_c_last", 2)),
        [](Call<B>& call, const Array& moved, const Array& gates, const Array& out, const Array& kept,
           const Array& weight, CellKind cell, const Array& h0, const Array& c0, const Array& moved_weight,
           const Array& moved_bias, const Array& moved_h0, const Array& moved_c0, const Array& spans, int64_t sequences,
           bool reverse, const Output& moved_out_, const Array& moved_h_last, const Array& moved_c_last) {
            if (moved) call.require_dims("moved", moved, 2);
            if (kept) call.require_dims("kept", kept, 2);
            const Array moved_out = call.output(moved_out_, {gates.shape[0], weight.shape[0]});
            call.submit_float([&]<class T>() {
                return ops::RecurrenceTangent<T>{
                    recurrent_layer<T>(call, cell, weight, {}, h0, c0, spans, sequences, gates.shape[0], reverse),
                    gates.matrix<const T>(),
                    out.matrix<const T>(),
                    kept.matrix<const T>(),
                    moved.matrix<const T>(),
                    moved_weight.matrix<const T>(),
                    moved_bias.vector<const T>(),
                    moved_h0.matrix<const T>(),
                    moved_c0.matrix<const T>(),
                    moved_out.matrix<T>(),
                    moved_h_last.matrix<T>(),
                    moved_c_last.matrix<T>()};
            });
            return moved_out.object;
        });
}

}  // namespace steepest
