// The rows that a mini-batch takes from a sparse matrix in CSR form, and the checks of their indices.
#pragma once

#include <type_traits>

#include "common/row_indices.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// `Index` is the type of the column numbers.
template <class T, class Index>
struct SparseRows {
    VectorView<const T> data;
    VectorView<const Index> indices;
    IntegerVectorView indptr;
    IntegerVectorView rows;  // row numbers, from the start of the mini-batch on
    int64_t start, columns;
    OperationNumber operation;

    STEEPEST_HD int64_t begin(int64_t i) const { return indptr[rows[i]]; }
    STEEPEST_HD int64_t end(int64_t i) const { return indptr[rows[i] + 1]; }

    STEEPEST_HD bool has_bad_number(int64_t i) const {
        return static_cast<uint64_t>(rows[i]) >= static_cast<uint64_t>(indptr.size - 1);
    }
    STEEPEST_HD bool has_bad_bounds(int64_t i) const { return begin(i) < 0 || begin(i) > end(i) || end(i) > data.size; }
    STEEPEST_HD bool is_bad_column(int64_t p) const {
        return static_cast<uint64_t>(indices[p]) >= static_cast<uint64_t>(columns);
    }

    // The failure of row i of the mini-batch, which is known to be bad.
    STEEPEST_HD Failure failure_of(int64_t i) const {
        Failure f;
        f.operation = operation;
        if (has_bad_number(i)) {
            f.kind = Failure::kIndex, f.value = rows[i], f.position = start + i, f.limit = indptr.size - 1;
        } else if (has_bad_bounds(i)) {
            const bool at_begin = begin(i) < 0 || begin(i) > data.size;
            f.kind = Failure::kPointer, f.value = at_begin ? begin(i) : end(i);
            f.position = rows[i] + !at_begin, f.limit = data.size;
        } else {
            int64_t p = begin(i);
            while (!is_bad_column(p)) ++p;
            f.kind = Failure::kColumn, f.value = indices[p], f.position = p, f.limit = columns;
        }
        return f;
    }
};

// Calls f(SparseRows) for the type of the operation's column numbers.
template <class Op, class F>
STEEPEST_HD void with_sparse_rows(const Op& op, int64_t start, F&& f) {
    const auto call = [&](auto index) {
        using Index = decltype(index);
        const VectorView<const Index> indices{reinterpret_cast<const Index*>(op.indices.data), op.indices.size,
                                              op.indices.stride / static_cast<int64_t>(sizeof(Index))};
        auto rows = op.rows;
        rows.data += start * rows.stride;
        f(SparseRows<std::remove_const_t<std::remove_pointer_t<decltype(op.data.data)>>, Index>{
            op.data, indices, op.indptr, rows, start, op.out.cols, number_of(op)});
    };
    if (op.indices.type == IntegerType::kInt32) return call(int32_t());
    call(int64_t());
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
