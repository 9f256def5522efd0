// Rows are moved as bytes, whatever their dtype.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

// out[i] = x[indices[start + i]]: gathers a shuffled mini-batch
struct TakeRows {
    static constexpr const char* kName = "take_rows";
    static constexpr bool kMayFail = true;
    MatrixView<const char> x;   // (n, bytes in a row), rows contiguous
    IntegerVectorView indices;  // (m,)
    ScalarView<int64_t> start;
    MatrixView<char> out;  // (batch, bytes in a row), disjoint from x

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "indices", indices), v(kRead, "start", start), v(kWrite, "out", out);
    }

    void check() const {
        require(x.cols == out.cols, kName, "out has ", out.cols, " bytes in a row, but x has ", x.cols);
        require(out.rows <= indices.size, kName, "out has ", out.rows, " rows, but there are only ", indices.size,
                " indices");
    }

    double flops() const { return 0; }
    double bytes() const { return 2.0 * out.rows * out.cols; }
};

// out[indices[start + i]] = x[i], with indices that differ; other rows of out stay as they are
struct PutRows {
    static constexpr const char* kName = "put_rows";
    static constexpr bool kMayFail = true;
    MatrixView<const char> x;   // (batch, bytes in a row), rows contiguous
    IntegerVectorView indices;  // (m,)
    ScalarView<int64_t> start;
    MatrixView<char> out;  // (n, bytes in a row), disjoint from x

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "indices", indices), v(kRead, "start", start), v(kUpdate, "out", out);
    }

    void check() const {
        require(x.cols == out.cols, kName, "out has ", out.cols, " bytes in a row, but x has ", x.cols);
        require(x.rows <= indices.size, kName, "x has ", x.rows, " rows, but there are only ", indices.size,
                " indices");
    }

    double flops() const { return 0; }
    double bytes() const { return 2.0 * x.rows * x.cols; }
};

}  // namespace steepest::ops
