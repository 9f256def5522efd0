// Row-wise softmax, exp(x_j - m) / sum_k exp(x_k - m) with m the row's maximum, or its logarithm.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct Softmax {
    static constexpr const char* kName = "softmax";
    MatrixView<const T> x;  // (n, c)
    MatrixView<T> out;      // (n, c): x itself, or disjoint from it
    bool logarithm = false;

    const char* name() const { return logarithm ? "log_softmax" : kName; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "x", x), v(kWriteItems, "out", out);
    }

    void check() const {
        require(x.cols > 0 || x.rows == 0, name(), "x has no columns");
        require_same_shape(name(), "out", out, "x", x);
    }

    double flops() const { return 15.0 * x.rows * x.cols; }
};

}  // namespace steepest::ops
