// A loss that compares each prediction with its target (common/losses.h), and its gradient:
//     loss = factor * sum_i w_i l_i / sum_i w_i, with l_i the mean or the sum of the losses of row i.
#pragma once

#include "common/losses.h"
#include "ops/contract.h"

namespace steepest::ops {

// Checks the sample weights and the gradient of any loss of predictions.
template <class Op>
void check_loss_outputs(const Op& op) {
    require(!op.sample_weight || op.sample_weight.size == op.prediction.rows, op.name(), "sample_weight has shape ",
            shape_of(op.sample_weight), ", but prediction has ", op.prediction.rows, " rows");
    require_same_shape(op.name(), "d_prediction", op.d_prediction, "prediction", op.prediction);
}

inline void check_loss_parameter(const char* name, Loss kind, double parameter) {
    const LossEntry& entry = kLosses[static_cast<int>(kind)];
    if (entry.parameter)
        require(parameter > entry.above && parameter < entry.below, name, entry.parameter, " is ", parameter,
                "; it must lie strictly between ", entry.above, " and ", entry.below);
}

template <class T>
struct PointwiseLoss {
    static constexpr const char* kName = "pointwise_loss";
    MatrixView<const T> prediction;     // (n, m)
    MatrixView<const T> target;         // (n, m)
    VectorView<const T> sample_weight;  // (n,) or absent
    Loss kind = Loss::kSquaredError;
    double parameter = 0;  // of the loss formula, if it has one
    double factor = 1;
    bool adds_outputs = false;  // whether the losses of a row are summed, not averaged
    double* loss = nullptr;
    MatrixView<T> d_prediction;  // (n, m): prediction itself, or disjoint from it

    const char* name() const { return kLosses[static_cast<int>(kind)].name; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "prediction", prediction), v(kRead, "target", target), v(kRead, "sample_weight", sample_weight);
        v(kWrite, "loss", one_item(loss)), v(kWriteItems, "d_prediction", d_prediction);
        v.team_memory();
    }

    void check() const {
        require(prediction.rows > 0 && prediction.cols > 0, name(), "prediction has shape ", shape_of(prediction),
                ": an empty batch has no mean loss");
        require_same_shape(name(), "target", target, "prediction", prediction);
        check_loss_outputs(*this);
        check_loss_parameter(name(), kind, parameter);
    }

    double flops() const { return 4.0 * prediction.rows * prediction.cols; }
};

}  // namespace steepest::ops
