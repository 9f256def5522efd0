// The negative log-likelihood of targets t under Gaussians with predicted means mu and log-variances s, less
// log(2 pi) / 2, and its gradient: l_ij = (s_ij + (t_ij - mu_ij)² exp(-s_ij)) / 2.
#pragma once

#include "ops/pointwise_loss.h"

namespace steepest::ops {

template <class T>
struct GaussianLoss {
    static constexpr const char* kName = "gaussian";
    MatrixView<const T> prediction;     // (n, 2m): m means, then m log-variances
    MatrixView<const T> target;         // (n, m)
    VectorView<const T> sample_weight;  // (n,) or absent
    bool adds_outputs = false;          // whether the losses of a row are summed, not averaged
    double* loss = nullptr;
    MatrixView<T> d_prediction;  // (n, 2m): prediction itself, or disjoint from it

    const char* name() const { return kName; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "prediction", prediction), v(kRead, "target", target), v(kRead, "sample_weight", sample_weight);
        v(kWrite, "loss", one_item(loss)), v(kWriteItems, "d_prediction", d_prediction);
        v.team_memory();
    }

    void check() const {
        require(prediction.rows > 0 && prediction.cols > 0, kName, "prediction has shape ", shape_of(prediction),
                ": an empty batch has no mean loss");
        require(prediction.rows == target.rows && prediction.cols == 2 * target.cols, kName, "prediction has shape ",
                shape_of(prediction), ", but target has shape ", shape_of(target),
                ": prediction must have a mean and a log-variance for every column of target");
        check_loss_outputs(*this);
    }

    double flops() const { return 25.0 * target.rows * target.cols; }
};

}  // namespace steepest::ops
