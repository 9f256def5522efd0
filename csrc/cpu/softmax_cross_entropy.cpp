#include "cpu/flush_subnormals.h"
#include "cpu/run.h"
#include "cpu/softmax_row.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T>
class Gradient {
  public:
    // `scratch` has room for three rows, for rows whose columns are strided.
    Gradient(const ops::SoftmaxCrossEntropy<T>& op, const RowWeights<T>& weights, double inverse_total, T* scratch)
        : op_(op), weights_(weights), inverse_total_(inverse_total), scratch_(scratch) {}

    // Rows [begin, end): writes their gradients, returns the sum of w_i l_i.
    double rows(int64_t begin, int64_t end) const {
        alignas(64) T sums[kRowsAtOnce];
        T shifted[kRowsAtOnce];     // sum_j t_ij (m_i - z_ij), the part of l_i without log(s_i)
        T target_sum[kRowsAtOnce];  // sum_j t_ij
        const int64_t n = op_.logits.cols;
        double loss = 0;
        for (int64_t i0 = begin; i0 < end; i0 += kRowsAtOnce) {
            const int count = static_cast<int>(end - i0 < kRowsAtOnce ? end - i0 : kRowsAtOnce);
            for (int r = count; r < kRowsAtOnce; ++r) sums[r] = T(1);
            for (int r = 0; r < count; ++r) {
                const int64_t i = i0 + r;
                const T scale = static_cast<T>(weights_[op_.first + i] * inverse_total_);
                T* const d = writable_row(op_.d_logits, i, scratch_ + n);
                target_sum[r] = T(1), sums[r] = T(1), shifted[r] = T(0);
                if (scale == 0) {
                    for (int64_t j = 0; j < n; ++j) d[j] = T(0);
                } else {
                    const T* z = contiguous_row(op_.logits, i, scratch_);
                    if (op_.labels)
                        class_row(z, op_.labels[op_.first + i], scale, d, sums[r], shifted[r]);
                    else
                        probability_row(z, contiguous_row(op_.targets, i, scratch_ + 2 * n), scale, d, sums[r],
                                        shifted[r], target_sum[r]);
                }
                put_row(op_.d_logits, i, d);
            }
            log_of_sums(sums, count);
            for (int r = 0; r < count; ++r) {
                const double w = weights_[op_.first + i0 + r];
                // A row of weight 0 is skipped, even if its own loss is infinite.
                if (w != 0)
                    loss += w * (static_cast<double>(shifted[r]) + static_cast<double>(target_sum[r]) * sums[r]);
            }
        }
        return loss;
    }

  private:
    using V = Vec<T>;

    // A row of one vector stays in a register from its logits to its gradient. Reading back a masked store would wait
    // until it has reached the cache.
    void short_class_row(const T* z, int64_t label, T scale, T* d, T& sum, T& shifted) const {
        alignas(64) static constexpr auto kOneAtTheEnd = [] {
            struct {
                T item[2 * V::kSize];
            } row{};
            row.item[V::kSize - 1] = 1;
            return row;
        }();
        const int lanes = static_cast<int>(op_.logits.cols);
        const T at_label = z[label];
        const V v = V::load(z, lanes, V(-__builtin_inf()));
        const T m = reduce_max(v);
        const V e = exp_nonpositive(v - V(m));
        sum = reduce_add(e);
        const V one_hot = V::load(kOneAtTheEnd.item + V::kSize - 1 - label);
        fma(e, V(scale / sum), V(-scale) * one_hot).store(d, lanes);
        shifted = m - at_label;
    }

    void class_row(const T* z, int64_t label, T scale, T* d, T& sum, T& shifted) const {
        if (op_.logits.cols <= V::kSize) return short_class_row(z, label, scale, d, sum, shifted);
        const T at_label = z[label];  // read before d, which may be z, is written
        const T m = maximum_of_row(z, op_.logits.cols);
        sum = exponentiate_row(z, m, d, op_.logits.cols);
        const V factor(scale / sum);
        for_each_vector<T>(0, op_.logits.cols, [=](int64_t j, int lanes) {
            store_items(load_items<T>(d + j, 1, lanes) * factor, d + j, 1, lanes);
        });
        d[label] -= scale;
        shifted = m - at_label;
    }

    void probability_row(const T* z, const T* t, T scale, T* d, T& sum, T& shifted, T& target_sum) const {
        const int64_t n = op_.logits.cols;
        const T m = maximum_of_row(z, n);
        const V maximum(m);
        double total = 0, dot = 0;
        for_each_vector<T>(0, n, [&](int64_t j, int lanes) {
            const V p = load_items(t + j, 1, lanes);
            // 0 times an infinite logit is 0: the limit of t log(t).
            const V product = select(p == V(0), V(0), p * (maximum - load_items(z + j, 1, lanes)));
            total += reduce_add_wide(p), dot += reduce_add_wide(product);
        });
        sum = exponentiate_row(z, m, d, n);
        const V factor(static_cast<T>(scale * total / sum)), minus_scale(-scale);
        for_each_vector<T>(0, n, [=](int64_t j, int lanes) {
            const V e = load_items<T>(d + j, 1, lanes), p = load_items(t + j, 1, lanes);
            store_items(fma(e, factor, minus_scale * p), d + j, 1, lanes);
        });
        target_sum = static_cast<T>(total);
        shifted = static_cast<T>(dot);
    }

    const ops::SoftmaxCrossEntropy<T>& op_;
    const RowWeights<T>& weights_;
    double inverse_total_;
    T* scratch_;
};

}  // namespace

template <class T>
void run(const ops::SoftmaxCrossEntropy<T>& op, Team& team) {
    const RowWeights<T> weights{op.sample_weight, op.labels, op.has_ignore_label, op.ignore_label};
    if (op.labels && !check_labels(weights, op.logits.cols, number_of(op), team)) return;
    const FlushSubnormals flush;
    const double total = weights.sum(op.batch_rows());
    const double inverse_total = total != 0 ? 1 / total : 0;
    const Gradient<T> gradient(op, weights, inverse_total,
                               static_cast<T*>(team.scratch(3 * op.logits.cols * sizeof(T))));
    sum_over_rows(
        op.logits.rows, inverse_total, op.loss, team, [&](Range r) { return gradient.rows(r.begin, r.end); },
        op.first > 0);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SoftmaxCrossEntropy)
