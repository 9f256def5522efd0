// out[i] = row rows[start + i] of a sparse matrix in CSR form, as a dense row: gathers a shuffled mini-batch. Row r
// holds the items p in [indptr[r], indptr[r + 1]): the number data[p] in column indices[p]. Numbers of the same column
// are summed.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct TakeSparseRows {
    static constexpr const char* kName = "take_sparse_rows";
    static constexpr bool kMayFail = true;
    VectorView<const T> data;   // (items,)
    IntegerVectorView indices;  // (items,) of int32 or int64
    IntegerVectorView indptr;   // (n + 1,) of int32 or int64
    IntegerVectorView rows;     // (m,)
    ScalarView<int64_t> start;
    MatrixView<T> out;  // (batch, d), disjoint from all inputs

    int64_t matrix_rows() const { return indptr.size - 1; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "data", data), v(kRead, "indices", indices), v(kRead, "indptr", indptr), v(kRead, "rows", rows);
        v(kRead, "start", start), v(kWrite, "out", out);
        v.team_memory();
    }

    void check() const {
        require(indices.size == data.size, kName, "indices has shape ", ShapeText{-1, indices.size},
                ", but data has shape ", shape_of(data));
        require(indptr.size > 0, kName, "indptr is empty; it needs one item more than there are rows");
        require(out.rows <= rows.size, kName, "out has ", out.rows, " rows, but rows has only ", rows.size, " items");
    }

    double flops() const { return 0; }
    // An estimate that takes all rows to hold equally many items.
    double bytes() const {
        const double items = indptr.size > 1 ? 1.0 * data.size / (indptr.size - 1) * out.rows : 0;
        return sizeof(T) * (1.0 * out.rows * out.cols + items) + 8.0 * items;
    }
};

}  // namespace steepest::ops
