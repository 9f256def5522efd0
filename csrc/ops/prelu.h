// A rectifier with learned slopes (K. He et al., "Delving deep into rectifiers", 2015): out = x where x > 0, else
// slope x. Each column has its own slope, or all share one. A slope may have any sign, so the gradients are evaluated
// at x:
//     d_x = d_y where x > 0, else slope d_y,   d_slope = the sum of d_y x over the items with x <= 0
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
void require_slopes(const char* name, const char* what, const VectorView<T>& slopes, const ShapeText& x) {
    require(slopes.size == 1 || slopes.size == x.cols, name, what, " has shape ", shape_of(slopes),
            ", but x has shape ", x, ": one item, or one for each column, is needed");
}

template <class T>
struct Prelu {
    static constexpr const char* kName = "prelu";
    MatrixView<const T> x;      // (n, m)
    VectorView<const T> slope;  // (m,) or (1,)
    MatrixView<T> out;          // x itself, or disjoint from it; disjoint from slope

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "x", x), v(kRead, "slope", slope), v(kWriteItems, "out", out);
    }

    void check() const {
        require_slopes(kName, "slope", slope, shape_of(x));
        require_same_shape(kName, "out", out, "x", x);
    }

    double flops() const { return 2.0 * x.rows * x.cols; }
};

template <class T>
struct PreluBackward {
    static constexpr const char* kName = "prelu_backward";
    MatrixView<const T> d_y;    // (n, m)
    MatrixView<const T> x;      // (n, m)
    VectorView<const T> slope;  // (m,) or (1,)
    MatrixView<T> d_x;          // d_y or x itself, or disjoint from both; disjoint from slope
    VectorView<T> d_slope;      // the shape of slope, disjoint from all others

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "d_y", d_y), v(kReadItems, "x", x), v(kRead, "slope", slope);
        v(kWrite, "d_slope", d_slope), v(kWriteItems, "d_x", d_x);
        v.team_memory();
    }

    void check() const {
        require_same_shape(kName, "d_y", d_y, "x", x);
        require_slopes(kName, "slope", slope, shape_of(x));
        require(d_slope.size == slope.size, kName, "d_slope has shape ", shape_of(d_slope), ", but slope has shape ",
                shape_of(slope));
        require_same_shape(kName, "d_x", d_x, "x", x);
    }

    double flops() const { return 5.0 * x.rows * x.cols; }
};

}  // namespace steepest::ops
