// out = a + b, a * b, or out + a * b, item by item; arrays of any strides, b broadcast to the shape of a.
#pragma once

#include "common/binary_formulas.h"
#include "ops/tensors.h"

namespace steepest::ops {

template <class T>
struct Binary {
    static constexpr const char* kName = "binary";
    TensorView<const T> a;
    TensorView<const T> b;  // of a's extents, with stride 0 where it is broadcast
    TensorView<T> out;      // of a's extents: the same items as a or b, or apart from them
    BinaryFormula formula;

    const char* name() const { return formula == BinaryFormula::kSum ? "add" : "multiply"; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "a", a), v(kReadItems, "b", b);
        if (formula == BinaryFormula::kAddedProduct) v(kReadItems, "out", out);
        v(kWriteItems, "out", out);
    }

    void check() const {}  // broadcast() has looked at the shapes

    int64_t most_members() const { return 3 * out.size() * static_cast<int64_t>(sizeof(T)) / kBytesForThread; }
    double flops() const { return (formula == BinaryFormula::kAddedProduct ? 2.0 : 1.0) * out.size(); }
};

// The operation on arrays as they are given, `out` in the shape of `a`.
template <class T>
Binary<T> binary(const TensorView<const T>& a, const TensorView<const T>& b, const TensorView<T>& out,
                 BinaryFormula formula) {
    Binary<T> op{a, {}, out, formula};
    op.b = broadcast(op.name(), "b", b, "a", a);
    join_axes(op.out, op.a, op.b);
    return op;
}

}  // namespace steepest::ops
