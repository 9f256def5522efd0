// The checks of shapes that the operations on linear models z = x @ w + b share.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

// x (n, d), w (d, k), b (k,) or absent, targets (n, k) or labels (n,), weights (n,) or absent
template <class Op>
void check_linear_model(const Op& op) {
    const char* const name = Op::kName;
    const auto &x = op.x, &target = op.target;
    const int64_t k = op.w.cols;
    require(x.cols == op.w.rows, name, "x has shape ", shape_of(x), ", but w has shape ", shape_of(op.w),
            ": they must be (n, d) and (d, k)");
    require(!op.b || op.b.size == k, name, "b has shape ", shape_of(op.b), ", but w has ", k, " columns");
    if (target)
        require(target.rows == x.rows && target.cols == k, name, "target has shape ", shape_of(target), ", but x has ",
                x.rows, " rows and w has ", k, " columns");
    else
        require(op.labels.size == x.rows, name, "labels has shape ", ShapeText{-1, op.labels.size}, ", but x has ",
                x.rows, " rows");
    require(!op.sample_weight || op.sample_weight.size == x.rows, name, "sample_weight has shape ",
            shape_of(op.sample_weight), ", but x has ", x.rows, " rows");
}

}  // namespace steepest::ops
