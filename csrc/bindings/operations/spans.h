// Arguments that say which rows of an array belong to which sequence.
#pragma once

#include "bindings/signature.h"
#include "common/spans.h"

namespace steepest {

// The spans of `rows` rows: those of a table (n, 2) of int64, or `sequences` of equal length.
template <class B>
Spans spans_of(const Call<B>& call, const char* what, const Array& table, int64_t sequences, int64_t rows) {
    if (table) {
        if (table.ndim != 2 || table.shape[1] != 2)
            ops::reject(call.name(), what,
                        " must be (n, 2), the first row and the number of rows of each sequence, but has shape ",
                        table.shape_text());
        return {table.matrix<const int64_t>(), table.shape[0], rows};
    }
    if (sequences < 0 || (sequences == 0 ? rows != 0 : rows % sequences != 0))
        ops::reject(call.name(), rows, " rows cannot be divided into ", sequences, " sequences of equal length: pass ",
                    what);
    return {{}, sequences, rows};
}

// The caller's array for a result with a row for each step, or a new one, whose rows in no sequence are zeros.
template <class B>
Array output_of_steps(Call<B>& call, const Output& out, const std::vector<int64_t>& shape, DType dtype,
                      const Array& spans) {
    Array array = call.output(out, shape, dtype);
    if (spans && !out.is_given()) array.object.attr("fill")(0);
    return array;
}

namespace arg {

inline auto spans(const char* name) {
    return optional(name, "Int64Array | None", py::none(), [](auto& call, const char* what, py::handle given) {
        return given.is_none() ? Array() : call.int64s(what, given, 2);
    });
}

}  // namespace arg
}  // namespace steepest
