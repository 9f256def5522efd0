// Softmax cross-entropy, the negative log-likelihood of a categorical distribution given by logits z:
//     loss = sum_i w_i l_i / sum_i w_i,   l_i = logsumexp(z_i) sum_j t_ij - sum_j t_ij z_ij
// with its gradient d_logits = w_i / sum w (softmax(z_i) sum_j t_ij - t_i), in one pass over the logits. The logits may be
// those of a part of a batch, whose loss is added up from part to part: then not all logits need to be in memory at once.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct SoftmaxCrossEntropy {
    static constexpr const char* kName = "softmax_cross_entropy";
    static constexpr bool kMayFail = true;
    MatrixView<const T> logits;         // (n, c)
    IntegerVectorView labels;           // (n,) class ids, or absent if targets are given
    MatrixView<const T> targets;        // (n, c) probabilities, or absent if labels are given
    VectorView<const T> sample_weight;  // (n,) or absent
    bool has_ignore_label = false;      // whether rows with the label ignore_label have weight 0
    int64_t ignore_label = 0;
    double* loss = nullptr;
    MatrixView<T> d_logits;  // (n, c): logits itself, or disjoint from it
    bool is_part = false;    // whether labels and weights are those of a batch, of which the logits are n rows
    int64_t first = 0;       // the first of these rows; the loss of all but the first part is added to `loss`

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "logits", logits), v(kRead, "labels", labels), v(kRead, "labels", targets);
        v(kRead, "sample_weight", sample_weight);
        v(first > 0 ? kUpdate : kWrite, "loss", one_item(loss)), v(kWriteItems, "d_logits", d_logits);
        v.team_memory();
    }

    void check() const {
        require(logits.rows > 0 && logits.cols > 0, kName, "logits have shape ", shape_of(logits),
                ": an empty batch has no mean loss");
        require(!labels || is_part || labels.size == logits.rows, kName, "labels have shape (", labels.size,
                ",), but logits have ", logits.rows, " rows");
        require(first >= 0 && (!is_part || first <= labels.size - logits.rows), kName, "labels have shape (",
                labels.size, ",), which ", logits.rows, " rows of logits from row ", first, " on do not fit");
        if (targets) require_same_shape(kName, "labels", targets, "logits", logits);
        require(!sample_weight || sample_weight.size == batch_rows(), kName, "sample_weight has shape ",
                shape_of(sample_weight), ", but ", is_part ? "the batch has " : "logits have ", batch_rows(), " rows");
        require_same_shape(kName, "d_logits", d_logits, "logits", logits);
    }

    STEEPEST_HD int64_t batch_rows() const { return is_part ? labels.size : logits.rows; }

    double flops() const { return 15.0 * logits.rows * logits.cols; }
};

}  // namespace steepest::ops
