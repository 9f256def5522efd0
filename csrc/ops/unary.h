// out = f(x), item by item, for a function of the registry; arrays of any strides.
#pragma once

#include "common/unary_formulas.h"
#include "ops/tensors.h"

namespace steepest::ops {

// Bytes of an item's size that a thread moves from the caches in the time of an arithmetic operation in its vectors.
constexpr double kBytesForFlop = 0.25;

template <class T>
struct Unary {
    static constexpr const char* kName = "unary";
    TensorView<const T> x;
    TensorView<T> out;  // of x's extents: the same items as x, or apart from them
    UnaryFormula formula;

    const char* name() const { return info_of(formula).name; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "x", x), v(kWriteItems, "out", out);
    }

    void check() const {}  // the bindings have compared the shapes

    int64_t most_members() const {
        const double bytes = out.size() * (2.0 + kBytesForFlop * info_of(formula).flops) * sizeof(T);
        return static_cast<int64_t>(bytes / kBytesForThread);
    }
    double flops() const { return info_of(formula).flops * out.size(); }
};

// The operation on arrays of one shape.
template <class T>
Unary<T> unary(const TensorView<const T>& x, const TensorView<T>& out, UnaryFormula formula) {
    Unary<T> op{x, out, formula};
    join_axes(op.out, op.x);
    return op;
}

}  // namespace steepest::ops
