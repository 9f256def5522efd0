// Losses that are a sum over items: item (i, j) has its own numbers, such as a prediction and a target, and its own
// part of the gradient. The losses of the rows of a batch are averaged with weights; the losses of a row's outputs are
// averaged or summed:
//     loss = factor * sum_i w_i (1/m or 1) sum_j l_ij / sum_i w_i
// A kernel is given a formula f(numbers, gradient) -> l, for vectors of items.
#pragma once

#include "common/row_weights.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T, int In, int Out>
struct ItemLoss {
    MatrixView<const T> in[In];  // (n, m) each
    MatrixView<T> out[Out];      // (n, m) each
    VectorView<const T> weight;  // (n,) or absent
    double factor = 1;           // of every item, including 1/m
    double* loss = nullptr;

    STEEPEST_HD int64_t rows() const { return in[0].rows; }
    STEEPEST_HD int64_t cols() const { return in[0].cols; }
    // The factor of w_i l_ij in the loss.
    STEEPEST_HD double scale(double total_weight) const { return total_weight != 0 ? factor / total_weight : 0; }
};

// Whether the items are contiguous. Without weights the sum then does not depend on where rows end: they may be given
// any length that divides the number of items.
template <class T, int In, int Out>
bool is_one_run(const ItemLoss<T, In, Out>& items) {
    bool run = true;
    const auto look_at = [&](const auto& m) { run = run && m.col_stride == 1 && m.row_stride == m.cols; };
    for (const auto& m : items.in) look_at(m);
    for (const auto& m : items.out) look_at(m);
    return run;
}

template <class T, int In, int Out>
void reshape_run(ItemLoss<T, In, Out>& items, int64_t cols) {
    const int64_t rows = items.rows() * items.cols() / cols;
    // The mean does not change: the factor makes up for the new number of rows.
    items.factor *= static_cast<double>(rows) / static_cast<double>(items.rows());
    const auto reshape = [&](auto& m) { m.rows = rows, m.cols = m.row_stride = cols; };
    for (auto& m : items.in) reshape(m);
    for (auto& m : items.out) reshape(m);
}

// The items of an operation on predictions and targets, which has one formula for each pair.
template <template <class> class Op, class T>
ItemLoss<T, 2, 1> pointwise_items(const Op<T>& op) {
    const double outputs = op.adds_outputs ? 1.0 : static_cast<double>(op.prediction.cols);
    return {{op.prediction, op.target}, {op.d_prediction}, op.sample_weight, op.factor / outputs, op.loss};
}

// The items of the Gaussian loss: means, log-variances and targets. The predictions hold the means on the left, the
// log-variances on the right.
template <template <class> class Op, class T>
ItemLoss<T, 3, 2> gaussian_items(const Op<T>& op) {
    const int64_t n = op.target.rows, m = op.target.cols;
    return {{op.prediction.block(0, 0, n, m), op.prediction.block(0, m, n, m), op.target},
            {op.d_prediction.block(0, 0, n, m), op.d_prediction.block(0, m, n, m)},
            op.sample_weight,
            op.adds_outputs ? 1.0 : 1.0 / static_cast<double>(m),
            op.loss};
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
