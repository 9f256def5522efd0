#include "cpu/run.h"
#include "cpu/softmax_row.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kRowsAtOnce = 16;  // rows whose logarithms are taken together

template <class T>
struct Gradient {
    const ops::SoftmaxCrossEntropy<T>& op;
    RowWeights<T> weights;
    double inverse_total;  // 1 / sum of weights

    // Rows [begin, end): writes their gradients, returns the sum of w_i l_i.
    double rows(int64_t begin, int64_t end) const {
        alignas(64) T sums[kRowsAtOnce];
        T shifted[kRowsAtOnce];     // m_i sum_j t_ij - sum_j t_ij z_ij, the part of l_i beside log(s_i)
        T target_sum[kRowsAtOnce];  // sum_j t_ij
        double loss = 0;
        for (int64_t i0 = begin; i0 < end; i0 += kRowsAtOnce) {
            const int count = static_cast<int>(end - i0 < kRowsAtOnce ? end - i0 : kRowsAtOnce);
            for (int r = count; r < kRowsAtOnce; ++r) sums[r] = T(1);
            for (int r = 0; r < count; ++r) {
                target_sum[r] = T(1), sums[r] = T(1), shifted[r] = T(0);
                if (op.labels)
                    class_row(i0 + r, sums[r], shifted[r]);
                else
                    probability_row(i0 + r, sums[r], shifted[r], target_sum[r]);
            }
            log_of_sums(sums, count);
            for (int r = 0; r < count; ++r) {
                const double w = weights[i0 + r];
                // A row of weight 0 counts for nothing even where its own loss is infinite.
                if (w != 0) loss += w * (static_cast<double>(shifted[r]) + static_cast<double>(target_sum[r]) * sums[r]);
            }
        }
        return loss;
    }

  private:
    void class_row(int64_t i, T& sum, T& shifted) const {
        using V = Vec<T>;
        const auto& z = op.logits;
        const auto& d = op.d_logits;
        const T scale = static_cast<T>(weights[i] * inverse_total);
        if (scale == 0) return clear_row(i);
        const int64_t label = op.labels[i];
        const T at_label = z(i, label);  // read before d, which may be z, is written
        const auto row = exponentiate_row(z.row(i), z.col_stride, d.row(i), d.col_stride, z.cols);
        const V factor(scale / row.sum);
        for_each_vector<T>(0, z.cols, [&](int64_t j, int lanes) {
            store_items(load_items<T>(&d(i, j), d.col_stride, lanes) * factor, &d(i, j), d.col_stride, lanes);
        });
        d(i, label) -= scale;
        sum = row.sum;
        shifted = row.maximum - at_label;
    }

    void probability_row(int64_t i, T& sum, T& shifted, T& target_sum) const {
        using V = Vec<T>;
        const auto& z = op.logits;
        const auto& t = op.targets;
        const auto& d = op.d_logits;
        const T scale = static_cast<T>(weights[i] * inverse_total);
        if (scale == 0) return clear_row(i);
        double total = 0, dot = 0;
        for_each_vector<T>(0, z.cols, [&](int64_t j, int lanes) {
            const V p = load_items(&t(i, j), t.col_stride, lanes);
            // 0 times an infinite logit is 0: the limit of t log(t).
            const V product = select(p == V(0), V(0), p * load_items(&z(i, j), z.col_stride, lanes));
            total += reduce_add_wide(p), dot += reduce_add_wide(product);
        });
        const auto row = exponentiate_row(z.row(i), z.col_stride, d.row(i), d.col_stride, z.cols);
        const V factor(static_cast<T>(scale * total / row.sum));
        for_each_vector<T>(0, z.cols, [&](int64_t j, int lanes) {
            const V e = load_items<T>(&d(i, j), d.col_stride, lanes);
            const V p = load_items(&t(i, j), t.col_stride, lanes);
            store_items(fma(e, factor, V(-scale) * p), &d(i, j), d.col_stride, lanes);
        });
        sum = row.sum;
        target_sum = static_cast<T>(total);
        shifted = static_cast<T>(row.maximum * total - dot);
    }

    void clear_row(int64_t i) const {
        for (int64_t j = 0; j < op.d_logits.cols; ++j) op.d_logits(i, j) = T(0);
    }
};

}  // namespace

template <class T>
void run(const ops::SoftmaxCrossEntropy<T>& op, Team& team) {
    if (op.labels && !check_labels(op.labels, op.has_ignore_label, op.ignore_label, op.logits.cols, op.kName, team)) return;
    const RowWeights<T> weights{op.sample_weight, op.labels, op.has_ignore_label, op.ignore_label};
    const double total = weights.sum(op.logits.rows);
    const double inverse_total = total != 0 ? 1 / total : 0;
    const Gradient<T> gradient{op, weights, inverse_total};
    sum_over_rows(op.logits.rows, inverse_total, op.loss, team, [&](Range r) { return gradient.rows(r.begin, r.end); });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SoftmaxCrossEntropy)
