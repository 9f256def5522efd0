// The gradient of row-wise softmax, from its output y: d_x = y (d_y - s), where s is the sum of d_y y over the row.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct SoftmaxBackward {
    static constexpr const char* kName = "softmax_backward";
    MatrixView<const T> d_y;  // (n, c)
    MatrixView<const T> y;    // (n, c)
    MatrixView<T> out;        // d_y or y itself, or disjoint from both

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "d_y", d_y), v(kReadItems, "y", y), v(kWriteItems, "out", out);
    }

    void check() const {
        require_same_shape(kName, "d_y", d_y, "y", y);
        require_same_shape(kName, "out", out, "y", y);
    }

    double flops() const { return 4.0 * y.rows * y.cols; }
};

}  // namespace steepest::ops
