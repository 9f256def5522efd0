// Reductions of a matrix: over all items, down its columns (axis 0) or along its rows (axis 1). Sums are accumulated in
// float64, in chunks that depend on the shape alone, so that the result does not depend on the number of threads.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

enum class Reduction : int8_t { kSum, kMean, kSumSquares, kMax, kMin };
constexpr const char* kReductionNames[] = {"sum", "mean", "sum_squares", "max", "min"};

template <class T>
struct Reduce {
    static constexpr const char* kName = "reduce";
    MatrixView<const T> x;
    VectorView<T> out;  // (1,), (columns,) or (rows,)
    Reduction kind = Reduction::kSum;
    int axis = -1;  // -1 over all items

    const char* name() const { return kReductionNames[static_cast<int>(kind)]; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kWrite, "out", out);
        v.team_memory();
    }

    void check() const {
        const int64_t length = axis < 0 ? x.rows * x.cols : axis == 0 ? x.rows : x.cols;
        const int64_t results = axis < 0 ? 1 : axis == 0 ? x.cols : x.rows;
        const bool has_identity = kind == Reduction::kSum || kind == Reduction::kSumSquares;
        require(has_identity || length > 0 || results == 0, name(), "x of shape ", shape_of(x),
                " has nothing to reduce");
        require(out.size == results, name(), "out has ", out.size, " items, but the result has ", results);
    }

    double flops() const { return 1.0 * x.rows * x.cols; }
};

// The column of each row's first largest item; a NaN counts as the largest, as in NumPy.
template <class T>
struct Argmax {
    static constexpr const char* kName = "argmax";
    MatrixView<const T> x;    // (n, c)
    VectorView<int64_t> out;  // (n,)

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kWrite, "out", out);
    }

    void check() const {
        require(x.cols > 0 || x.rows == 0, kName, "x has no columns");
        require(out.size == x.rows, kName, "out has ", out.size, " items, but x has ", x.rows, " rows");
    }

    double flops() const { return 1.0 * x.rows * x.cols; }
};

}  // namespace steepest::ops
