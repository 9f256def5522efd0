// out[i] = weights[i] x[i] + (1 - weights[i]) x[i + 1], where row 0 follows the last one: the targets of images that
// take_images has mixed (H. Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018).
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct MixRows {
    static constexpr const char* kName = "mix_rows";
    MatrixView<const T> x;        // (n, d)
    VectorView<const T> weights;  // (n,)
    MatrixView<T> out;            // (n, d), disjoint from all inputs

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "weights", weights), v(kWrite, "out", out);
    }

    void check() const {
        require(weights.size == x.rows, kName, "weights has shape ", shape_of(weights), ", but x has shape ",
                shape_of(x));
        require_same_shape(kName, "out", out, "x", x);
    }

    double flops() const { return 3.0 * x.rows * x.cols; }
};

}  // namespace steepest::ops
