// loss = s sum_i w_i mean_j (p_ij - t_ij)² / sum_i w_i, with s = 1, or 1/2 for the half-quadratic form,
// and its gradient 2 s w_i (p_ij - t_ij) / (m sum w).
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct SquaredError {
    static constexpr const char* kName = "squared_error";
    MatrixView<const T> prediction;     // (n, m)
    MatrixView<const T> target;         // (n, m)
    VectorView<const T> sample_weight;  // (n,) or absent
    bool half = false;
    double* loss = nullptr;
    MatrixView<T> d_prediction;  // (n, m), the same items as prediction or apart from it

    template <class Visitor>
    void visit(Visitor&& v) const {
        v.read(prediction), v.read(target), v.read(sample_weight);
        v.write(VectorView<double>{loss, 1, 1}), v.write(d_prediction);
        v.team_memory();
    }

    void check() const {
        require(prediction.rows > 0 && prediction.cols > 0, kName, "prediction has shape ", shape_of(prediction),
                ": an empty batch has no mean loss");
        require_same_shape(kName, "target", target, "prediction", prediction);
        require(!sample_weight || sample_weight.size == prediction.rows, kName, "sample_weight has shape ",
                shape_of(sample_weight), ", but prediction has ", prediction.rows, " rows");
        require_same_shape(kName, "d_prediction", d_prediction, "prediction", prediction);
        require_same_or_apart(kName, "d_prediction", d_prediction, "prediction", prediction);
        require_apart(kName, "d_prediction", d_prediction, "target", target);
        require_apart(kName, "d_prediction", d_prediction, "sample_weight", sample_weight);
    }

    double flops() const { return 4.0 * prediction.rows * prediction.cols; }
};

}  // namespace steepest::ops
