// out = a @ b
#pragma once

#include "common/precision.h"
#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct MatMul {
    static constexpr const char* kName = "matmul";
    MatrixView<const T> a;  // (m, k)
    MatrixView<const T> b;  // (k, n)
    MatrixView<T> out;      // (m, n), disjoint from a and b
    Precision precision = Precision::kFloat32;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "a", a), v(kRead, "b", b), v(kWrite, "out", out);
    }

    void check() const {
        require(a.cols == b.rows, kName, "a has shape ", shape_of(a), " and b has shape ", shape_of(b),
                ": the columns of a must be the rows of b");
        require(out.rows == a.rows && out.cols == b.cols, kName, "out has shape ", shape_of(out),
                ", but the product has shape (", a.rows, ", ", b.cols, ")");
    }

    double flops() const { return 2.0 * a.rows * a.cols * b.cols; }
};

}  // namespace steepest::ops
