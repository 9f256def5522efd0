// An activation, out = f(x), and its gradient, d_x = d_y * f'. f' is evaluated at the output y = f(x). For activations
// whose derivative needs the input, `y` holds x.
#pragma once

#include "common/activations.h"
#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct ActivationForward {
    static constexpr const char* kName = "activation";
    MatrixView<const T> x;
    MatrixView<T> out;  // x itself, or disjoint from it
    Activation activation;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "x", x), v(kWriteItems, "out", out);
    }

    void check() const { require_same_shape(kName, "out", out, "x", x); }

    double flops() const { return 10.0 * x.rows * x.cols; }
};

template <class T>
struct ActivationBackward {
    static constexpr const char* kName = "activation_backward";
    MatrixView<const T> d_y;
    MatrixView<const T> y;
    MatrixView<T> out;  // d_y or y itself, or disjoint from both
    Activation activation;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "d_y", d_y), v(kReadItems, "y", y), v(kWriteItems, "out", out);
    }

    void check() const {
        require_same_shape(kName, "d_y", d_y, "y", y);
        require_same_shape(kName, "out", out, "y", y);
    }

    double flops() const { return 3.0 * y.rows * y.cols; }
};

}  // namespace steepest::ops
