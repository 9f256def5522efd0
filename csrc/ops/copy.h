// out = x, for arrays of any strides. Items are moved as bytes, so any dtype will do.
#pragma once

#include "ops/tensors.h"

namespace steepest::ops {

struct Copy {
    static constexpr const char* kName = "copy";
    TensorView<const char> x;  // an item's bytes are the last axis, unless it is a single one
    TensorView<char> out;      // of x's extents: the same items as x, or apart from it

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "x", x), v(kWriteItems, "out", out);
    }

    void check() const {}  // the bindings have compared the shapes

    int64_t most_members() const { return 2 * out.size() / kBytesForThread; }
    double flops() const { return 0; }
};

// The operation on arrays of one shape.
inline Copy copy(const TensorView<const char>& x, const TensorView<char>& out) {
    Copy op{x, out};
    join_axes(op.out, op.x);
    return op;
}

// The bytes of a view as words, where is_in_words() says that they are.
template <class To, class From>
STEEPEST_HD TensorView<To> in_words(const TensorView<From>& bytes) {
    constexpr int64_t kBytes = sizeof(To);
    TensorView<To> words{reinterpret_cast<To*>(bytes.data), bytes.axes, {}, {}};
    const int last = bytes.axes - 1;
    for (int d = 0; d <= last; ++d) words.extent[d] = bytes.extent[d], words.stride[d] = bytes.stride[d] / kBytes;
    if (kBytes == 1) return words;
    words.extent[last] /= kBytes, words.stride[last] = 1;
    // An item that is one word leaves the axis of its bytes to the items themselves.
    if (words.extent[last] == 1 && words.axes > 1) --words.axes;
    return words;
}

// The axis along which the words of x lie closest together; the last one where others are no better.
template <class T>
STEEPEST_HD int closest_axis(const TensorView<T>& x) {
    int closest = x.axes - 1;
    for (int d = 0; d < x.axes; ++d)
        if (x.stride[d] != 0 && magnitude(x.stride[d]) < magnitude(x.stride[closest])) closest = d;
    return closest;
}

}  // namespace steepest::ops
