// Cumulative sums along the rows of x: out[i, j] = x[i, 0] + ... + x[i, j]. Sums are accumulated in float64. A few long
// rows are cut into pieces, whose totals are computed first. The pieces depend on the shape alone, so the result does
// not depend on the number of threads.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct Cumsum {
    static constexpr const char* kName = "cumsum";
    MatrixView<const T> x;         // (n, m)
    MatrixView<T> out;             // (n, m): x itself, or disjoint from it
    VectorView<double> workspace;  // at least workspace_items() long: a total for each piece

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "x", x), v(kWriteItems, "out", out), v(kWrite, "workspace", workspace);
    }

    void check() const { require_same_shape(kName, "out", out, "x", x); }

    // The number of items of a piece; the last piece of a row may have fewer.
    template <bool OnGpu>
    STEEPEST_HD int64_t piece_length() const {
        constexpr int64_t kManyRows = OnGpu ? 8192 : 64, kLeast = OnGpu ? 1024 : 4096, kMostPieces = 4096;
        if (x.rows >= kManyRows || x.cols <= kLeast) return x.cols;
        const int64_t length = (x.cols + kMostPieces - 1) / kMostPieces;
        return length < kLeast ? kLeast : length;
    }

    // The number of pieces of a row.
    template <bool OnGpu>
    STEEPEST_HD int64_t pieces() const {
        const int64_t length = piece_length<OnGpu>();
        return length > 0 ? (x.cols + length - 1) / length : 0;
    }

    template <bool OnGpu>
    int64_t workspace_items() const {
        return pieces<OnGpu>() > 1 ? x.rows * pieces<OnGpu>() : 0;
    }

    double flops() const { return 1.0 * x.rows * x.cols; }
};

}  // namespace steepest::ops
