// One output of a linear model during stochastic gradient descent, and the quantities of the samples that it needs.
#pragma once

#include <cmath>

#include "cpu/rows.h"
#include "cpu/simd/math.h"
#include "ops/linear_sgd.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int kBlock = 64;            // samples between two calls of end_block()
constexpr int kGroup = 4;             // samples whose steps are applied to the weights together
constexpr double kSmallScale = 1e-3;  // below this value, the scale is multiplied into the weights
// The smallest factor by which the scale may shrink within a group.
constexpr double kLeastDecay = 0.1;

// The functions of a loss: for one sample at a time, and for the samples of a block.
struct LossFunctions {
    double (*slope)(double parameter, double z, double t);
    double (*sum)(double parameter, const double* z, const double* t, int n);
};

template <class Formula>
LossFunctions loss_functions() {
    using V = Vec<double>;
    return {[](double parameter, double z, double t) {
                return first_lane(slope_of_step(make_loss<Formula>(parameter), V(z), V(t)));
            },
            [](double parameter, const double* z, const double* t, int n) {
                const Formula formula = make_loss<Formula>(parameter);
                V sum(0);
                for_each_vector<double>(0, n, [&](int64_t i, int lanes) {
                    double value[V::kSize] = {};  // absent lanes stay 0
                    formula.value(load_items(z + i, 1, lanes), load_items(t + i, 1, lanes)).store(value, lanes);
                    sum = sum + V::load(value);
                });
                return reduce_add(sum);
            }};
}

// A sample as one output sees it.
struct OutputSample {
    double target, weight, rate;
    double square = 0;      // |x|², if the rule needs it
    bool averages = false;  // whether the weights after this sample are added to their average
};

// The rows of consecutive samples, with the products of each row with itself and with the rows before it.
template <class T>
struct RowGroup {
    const T* row[kGroup];
    double product[kGroup][kGroup];

    // Returns whether all squares, and so all items and products, are finite.
    STEEPEST_HD bool multiply(int64_t d) {
        using V = Vec<T>;
        V sum[kGroup][kGroup];
        for (auto& sums : sum)
            for (V& v : sums) v = V(0);
        for_each_vector<T>(0, d, [&](int64_t j, int lanes) {
            V items[kGroup];
#pragma GCC unroll 4
            for (int a = 0; a < kGroup; ++a) {
                items[a] = load_items(row[a] + j, 1, lanes);
#pragma GCC unroll 4
                for (int b = 0; b <= a; ++b) sum[a][b] = fma(items[a], items[b], sum[a][b]);
            }
        });
        for (int a = 0; a < kGroup; ++a)
            for (int b = 0; b <= a; ++b) product[a][b] = static_cast<double>(reduce_add(sum[a][b]));
        bool finite = true;
        for (int a = 0; a < kGroup; ++a) finite &= std::isfinite(product[a][a]);
        return finite;
    }
};

// x . w for a row of x and a row of weights. It also calls `look_at` with the weights, to sum what the penalties need.
template <class T, class F>
STEEPEST_HD T dot(const T* x, const T* w, int64_t d, F&& look_at) {
    using V = Vec<T>;
    constexpr int kSize = V::kSize;
    V sum[4] = {V(0), V(0), V(0), V(0)};
    const auto add = [&](int s, int64_t j, V items) {
        const V weights = V::load(w + j);
        sum[s] = fma(items, weights, sum[s]);
        look_at(s, weights);
    };
    int64_t j = 0;
    for (; j + 4 * kSize <= d; j += 4 * kSize)
#pragma GCC unroll 4
        for (int s = 0; s < 4; ++s) add(s, j + s * kSize, V::load(x + j + s * kSize));
    int s = 0;
    for (; j + kSize <= d; j += kSize) add(s++, j, V::load(x + j));
    if (j < d) add(3, j, V::load(x + j, static_cast<int>(d - j)));
    return reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// One output while its samples pass. Its weights are a scale times a row of items. The L2 penalty then takes one
// product, without the rounding error of 1 - rate l2 in every weight.
template <class T>
class Output {
    using V = Vec<T>;

  public:
    static int64_t padded(int64_t d) { return (d + V::kSize - 1) / V::kSize * V::kSize; }
    static constexpr int kRows = 3;  // rows of padded length in `memory`

    Output(const ops::LinearSgd<T>& op, const StepRule& rule, const LossFunctions& loss, int64_t c, T* memory)
        : op_(op),
          rule_(rule),
          loss_(loss),
          c_(c),
          d_(op.w.rows),
          size_(padded(d_)),
          item_(memory),
          taken_(memory + size_),
          sum_(memory + 2 * size_) {
        for (int64_t j = 0; j < kRows * size_; ++j) memory[j] = T(0);
        for (int64_t j = 0; j < d_; ++j) item_[j] = op.w(j, c);
        if (op.l1 > 0)
            for (int64_t j = 0; j < d_; ++j) taken_[j] = op.l1_applied(j, c);
        if (op.l1 > 0) allowed_ = op.l1_total[c];
        if (op.b) bias_ = op.b[c];
        if (op.average_b) average_bias_ = op.average_b[c];
        if (op.class_weight) class_weight_[0] = op.class_weight(0, c), class_weight_[1] = op.class_weight(1, c);
    }

    STEEPEST_HD void take(const T* x, const OutputSample& sample) {
        const double c = step_of(sample, scale_ * static_cast<double>(product_with(x)) + bias_);
        if (rule_.l2 > 0) shrink(rule_.decay(sample.rate));
        if (c != 0) {
            const V step(static_cast<T>(c * inverse_scale_));
            for_each_vector<T>(0, d_, [&](int64_t j, int lanes) {
                fma(step, load_items(x + j, 1, lanes), V::load(item_ + j)).store(item_ + j);
            });
            if (op_.b) bias_ += c;
        }
        if (rule_.l1 > 0) {
            allowed_ += rule_.l1 * sample.rate;
            clip();
        }
        if (sample.averages) {
            ++summed_;
            bias_sum_ += bias_;
            const V factor(static_cast<T>(scale_));
            for_each_item([&](int64_t j) { fma(factor, V::load(item_ + j), V::load(sum_ + j)).store(sum_ + j); });
        }
    }

    // Takes the steps of the samples of a group, without averages, an L1 penalty or passive-aggressive steps. The
    // weights at each sample are the weights before the group plus multiples of the rows in between, and so are their
    // products. The weights are read once and written once, and no step waits for them.
    STEEPEST_HD void take(const RowGroup<T>& rows, const OutputSample* samples) {
        double product[kGroup], square = multiply(rows, product);
        T steps[kGroup];
        bool moves = false;
        // There is no branch for a step of 0, which a hinge loss would make unpredictable.
        for (int i = 0; i < kGroup; ++i) {
            for (int before = 0; before < i; ++before) product[i] += steps[before] * rows.product[i][before];
            objective_ += 0.5 * rule_.l2 * scale_ * scale_ * square;
            const double c = step_of(samples[i], scale_ * product[i] + bias_);
            if (rule_.l2 > 0) scale_ *= rule_.decay(samples[i].rate), inverse_scale_ = 1 / scale_;
            if (op_.b) bias_ += c;
            steps[i] = static_cast<T>(c * inverse_scale_);
            moves |= steps[i] != 0;
            square += steps[i] * (2 * product[i] + steps[i] * rows.product[i][i]);
        }
        if (moves) move(rows, steps);
        if (scale_ < kSmallScale) rescale();
    }

    // Call after a block: adds the sums of the block to the totals. `averaged` samples are in the average before this
    // block.
    void end_block(int64_t averaged) {
        objective_ +=
            op_.loss_scale * loss_.sum(op_.parameter, z_, target_, seen_) + reduce_add_wide(V::load(penalty_));
        seen_ = 0;
        V(0).store(penalty_);
        rescale();
        if (summed_ == 0) return;
        const double m = static_cast<double>(summed_), part = 1 / (static_cast<double>(averaged) + m);
        for (int64_t j = 0; j < d_; ++j) {
            T& average = op_.average_w(j, c_);
            average = static_cast<T>(average + (sum_[j] - m * average) * part);
            sum_[j] = T(0);
        }
        average_bias_ += (bias_sum_ - m * average_bias_) * part;
        bias_sum_ = 0, summed_ = 0;
    }

    void store() {
        for (int64_t j = 0; j < d_; ++j) op_.w(j, c_) = item_[j];
        if (op_.b) op_.b[c_] = static_cast<T>(bias_);
        if (op_.average_b) op_.average_b[c_] = static_cast<T>(average_bias_);
        if (rule_.l1 > 0) {
            for (int64_t j = 0; j < d_; ++j) op_.l1_applied(j, c_) = taken_[j];
            op_.l1_total[c_] = allowed_;
        }
        op_.objective[c_] = objective_;
    }

  private:
    // The step length along the sample, at prediction z.
    STEEPEST_HD double step_of(const OutputSample& sample, double z) {
        z_[seen_] = z, target_[seen_] = sample.target;
        ++seen_;
        const double slope = op_.loss_scale * loss_.slope(op_.parameter, z, sample.target);
        double loss = 0;
        if (rule_.passive_aggressive != PassiveAggressive::kNot)
            loss = op_.loss_scale * loss_.sum(op_.parameter, &z, &sample.target, 1);
        const double weight = class_weight_[sample.target > 0] * sample.weight;
        return rule_.coefficient(loss, slope, sample.rate, sample.square, weight);
    }

    // Computes the products of the rows with the items, and returns the square of the items.
    STEEPEST_HD double multiply(const RowGroup<T>& rows, double (&product)[kGroup]) const {
        V sum[kGroup], square(0);
        for (V& v : sum) v = V(0);
        for_each_vector<T>(0, d_, [&](int64_t j, int lanes) {
            const V w = V::load(item_ + j);
            square = fma(w, w, square);
#pragma GCC unroll 4
            for (int i = 0; i < kGroup; ++i) sum[i] = fma(load_items(rows.row[i] + j, 1, lanes), w, sum[i]);
        });
        for (int i = 0; i < kGroup; ++i) product[i] = static_cast<double>(reduce_add(sum[i]));
        return static_cast<double>(reduce_add(square));
    }

    STEEPEST_HD void move(const RowGroup<T>& rows, const T (&steps)[kGroup]) {
        V factor[kGroup];
        for (int i = 0; i < kGroup; ++i) factor[i] = V(steps[i]);
        for_each_vector<T>(0, d_, [&](int64_t j, int lanes) {
            V w = V::load(item_ + j);
#pragma GCC unroll 4
            for (int i = 0; i < kGroup; ++i) w = fma(factor[i], load_items(rows.row[i] + j, 1, lanes), w);
            w.store(item_ + j);
        });
    }

    template <class F>
    STEEPEST_HD void for_each_item(F&& f) {
        for (int64_t j = 0; j < size_; j += V::kSize) f(j);
    }

    // x . w without the scale. The penalties at these weights are added to their sum.
    STEEPEST_HD T product_with(const T* x) {
        if (!(rule_.l1 > 0 || rule_.l2 > 0)) return dot(x, item_, d_, [](int, V) {});
        V square[4] = {V(0), V(0), V(0), V(0)}, size[4] = {V(0), V(0), V(0), V(0)};
        const auto sum_of = [](const V(&v)[4]) { return (v[0] + v[1]) + (v[2] + v[3]); };
        T product;
        if (rule_.l1 > 0)
            product =
                dot(x, item_, d_, [&](int s, V w) { square[s] = fma(w, w, square[s]), size[s] = size[s] + abs(w); });
        else
            product = dot(x, item_, d_, [&](int s, V w) { square[s] = fma(w, w, square[s]); });
        const V penalty = V(0.5 * rule_.l2 * scale_ * scale_) * sum_of(square) + V(rule_.l1 * scale_) * sum_of(size);
        (V::load(penalty_) + penalty).store(penalty_);
        return product;
    }

    STEEPEST_HD void shrink(double decay) {
        scale_ *= decay;
        if (scale_ < kSmallScale) rescale();
        inverse_scale_ = 1 / scale_;
    }

    void rescale() {
        if (scale_ == 1) return;
        const V factor(static_cast<T>(scale_));
        for_each_item([&](int64_t j) { (factor * V::load(item_ + j)).store(item_ + j); });
        scale_ = inverse_scale_ = 1;
    }

    // Moves each weight towards 0 by the part of the L1 penalty that has not been applied yet, but not past 0.
    STEEPEST_HD void clip() {
        const V allowed(static_cast<T>(allowed_)), scale(static_cast<T>(scale_)),
            inverse(static_cast<T>(inverse_scale_));
        for_each_item([&](int64_t j) {
            const V w = V::load(item_ + j), taken = V::load(taken_ + j);
            const V down = max(V(0), w - (allowed + taken) * inverse), up = min(V(0), w + (allowed - taken) * inverse);
            const V clipped = select(w > V(0), down, select(V(0) > w, up, w));
            clipped.store(item_ + j);
            fma(scale, clipped - w, taken).store(taken_ + j);
        });
    }

    const ops::LinearSgd<T>& op_;
    const StepRule& rule_;
    const LossFunctions& loss_;
    int64_t c_, d_, size_;
    T *item_, *taken_, *sum_;
    alignas(64) T penalty_[V::kSize] = {};
    double scale_ = 1, inverse_scale_ = 1, bias_ = 0, allowed_ = 0, average_bias_ = 0, bias_sum_ = 0, objective_ = 0;
    double class_weight_[2] = {1, 1};
    int64_t summed_ = 0;
    int seen_ = 0;  // number of samples of the block; their predictions and targets follow
    double z_[kBlock], target_[kBlock];
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
