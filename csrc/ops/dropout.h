// out = x * mask / (1 - rate), with mask_e = 1 with probability 1 - rate and 0 otherwise, independently for every item
// (N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014).
// The mask of item e, counted along the rows, depends on (seed, stream, e) alone: it is word e % 4 of Philox counter
// e / 4. The gradient of dropout is dropout of the gradient, with the same mask.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct Dropout {
    static constexpr const char* kName = "dropout";
    MatrixView<const T> x;
    MatrixView<T> out;  // x itself, or disjoint from it
    double rate = 0;
    uint64_t seed = 0;
    ScalarView<int64_t> stream;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "x", x), v(kRead, "stream", stream), v(kWriteItems, "out", out);
    }

    void check() const {
        require(rate >= 0 && rate < 1, kName, "rate is ", rate, "; it must be in [0, 1)");
        require_same_shape(kName, "out", out, "x", x);
    }

    double flops() const { return 8.0 * x.rows * x.cols; }
};

}  // namespace steepest::ops
