// The zero-one loss: the proportion of rows whose largest score (the first of equal ones) is not at their label.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct ZeroOneLoss {
    static constexpr const char* kName = "zero_one_loss";
    static constexpr bool kMayFail = true;
    MatrixView<const T> scores;  // (n, c)
    IntegerVectorView labels;    // (n,)
    bool has_ignore_label = false;
    int64_t ignore_label = 0;
    double* out = nullptr;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "scores", scores), v(kRead, "labels", labels), v(kWrite, "out", one_item(out));
        v.team_memory();
    }

    void check() const {
        require(scores.rows > 0 && scores.cols > 0, kName, "scores have shape ", shape_of(scores),
                ": an empty batch has no mean loss");
        require(labels.size == scores.rows, kName, "labels have shape (", labels.size, ",), but scores have ",
                scores.rows, " rows");
    }

    double flops() const { return 1.0 * scores.rows * scores.cols; }
};

}  // namespace steepest::ops
