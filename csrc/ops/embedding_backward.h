// The gradient of table[ids] with respect to the table: out[r] = the sum of the rows i of d_out with ids[i] = r, which
// are added in their order.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct EmbeddingBackward {
    static constexpr const char* kName = "embedding_backward";
    static constexpr bool kMayFail = true;
    MatrixView<const T> d_out;  // (n, d)
    IntegerVectorView ids;      // (n,)
    MatrixView<T> out;          // (rows of the table, d), disjoint from the others
    bool accumulate = false;    // whether the sums are added to out

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "d_out", d_out), v(kRead, "ids", ids), v(accumulate ? kUpdate : kWrite, "out", out);
    }

    void check() const {
        require(ids.size == d_out.rows, kName, "ids has ", ids.size, " items, but d_out has ", d_out.rows, " rows");
        require(out.cols == d_out.cols, kName, "out has ", out.cols, " columns, but d_out has ", d_out.cols);
    }

    double flops() const { return 1.0 * d_out.rows * d_out.cols + (accumulate ? 0.0 : 1.0 * out.rows * out.cols); }
};

}  // namespace steepest::ops
