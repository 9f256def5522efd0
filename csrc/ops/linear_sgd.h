// Stochastic gradient descent for linear models z = x @ w + b, with one step for each sample, all samples in one
// operation. For i = 1, 2, ..., with x, t the sample of row order[i] (or i), and for each output separately:
//     z = x w + b,   w <- (1 - rate l2) w - rate s l'(z, t) x,   b <- b - rate s l'(z, t),
// where rate = lr / (t0 + i)^power and s is the weight of the sample. The L1 penalty is the cumulative one of Y.
// Tsuruoka, J. Tsujii, S. Ananiadou, "Stochastic gradient descent training for L1-regularized log-linear models with
// cumulative penalty", ACL 2009.
#pragma once

#include "common/linear_sgd.h"
#include "ops/linear_model.h"
#include "ops/pointwise_loss.h"

namespace steepest::ops {

template <class T>
struct LinearSgd {
    static constexpr const char* kName = "linear_sgd";
    static constexpr bool kMayFail = true;
    MatrixView<const T> x;              // (n, d)
    MatrixView<const T> target;         // (n, k), or absent if labels are given
    IntegerVectorView labels;           // (n,)
    VectorView<const T> sample_weight;  // (n,) or absent
    MatrixView<const T> class_weight;   // (2, k) for negative and positive targets, or absent
    VectorView<const int64_t> order;    // rows of x, or absent: all rows in their order
    Loss loss = Loss::kLogLoss;
    double parameter = 0, loss_scale = 1;
    ScalarView<double> lr;
    double power = 0, t0 = 0, l1 = 0, l2 = 0;
    PassiveAggressive passive_aggressive = PassiveAggressive::kNot;
    MatrixView<T> w;               // (d, k)
    VectorView<T> b;               // (k,) or absent
    int64_t* step = nullptr;       // number of samples so far
    MatrixView<T> l1_applied;      // (d, k), what the L1 penalty has subtracted from each weight, or absent
    VectorView<double> l1_total;   // (k,), what the L1 penalty could have subtracted from a weight
    MatrixView<T> average_w;       // (d, k), or absent
    VectorView<T> average_b;       // (k,), or absent
    int64_t average_start = 1;     // the first sample in the average, counted from 1
    VectorView<double> objective;  // (k,) sums over the samples of l(z, t) and the penalty, each before its step

    STEEPEST_HD int64_t samples() const { return order ? order.size : x.rows; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "target", target), v(kRead, "target", labels);
        v(kRead, "sample_weight", sample_weight), v(kRead, "class_weight", class_weight), v(kRead, "order", order);
        v(kRead, "lr", lr), v(kUpdate, "w", w), v(kUpdate, "b", b), v(kUpdate, "step", one_item(step));
        v(kUpdate, "l1_applied", l1_applied), v(kUpdate, "l1_total", l1_total);
        v(kUpdate, "average_w", average_w), v(kUpdate, "average_b", average_b), v(kWrite, "objective", objective);
    }

    void check() const {
        const int64_t k = w.cols;
        check_linear_model(*this);
        require(!class_weight || (class_weight.rows == 2 && class_weight.cols == k), kName, "class_weight has shape ",
                shape_of(class_weight), "; ", ShapeText{2, k}, " is needed");
        const auto of_outputs = [&](const char* name, const auto& v) {
            require(!v || v.size == k, kName, name, " has shape ", shape_of(v), ", but w has ", k, " columns");
        };
        of_outputs("l1_total", l1_total), of_outputs("average_b", average_b);
        if (l1_applied) require_same_shape(kName, "l1_applied", l1_applied, "w", w);
        if (average_w) require_same_shape(kName, "average_w", average_w, "w", w);
        require(l1 == 0 || (l1_applied && l1_total), kName, "l1_applied and l1_total are needed when l1 is not 0");
        require(l1 >= 0 && l2 >= 0, kName, "l1 is ", l1, " and l2 is ", l2, "; they must not be negative");
        check_loss_parameter(kName, loss, parameter);
        require(t0 > -1, kName, "t0 is ", t0, "; it must be above -1");
        require(average_start >= 1, kName, "average_start is ", average_start, "; samples are counted from 1");
        require(passive_aggressive == PassiveAggressive::kNot || power == 0, kName, "power is ", power,
                "; it must be 0 if passive_aggressive is 1 or 2");
    }

    int64_t most_members() const { return w.cols; }
    double flops() const { return 4.0 * samples() * w.rows * w.cols; }
};

}  // namespace steepest::ops
