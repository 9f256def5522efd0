// A rectifier with learned slopes (K. He et al., "Delving deep into rectifiers", 2015): out = x where x > 0, else slope x,
// with one slope for each column or one for all. Slopes may have any sign, so that the gradients are taken at x:
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
    MatrixView<T> out;          // the same items as x, or apart from it; apart from slope

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
    MatrixView<T> d_x;          // the same items as d_y or x, or apart from them; apart from slope
    VectorView<T> d_slope;      // as slope, apart from all others

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
