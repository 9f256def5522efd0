#include "common/divergences.h"

#include "cpu/flush_subnormals.h"
#include "cpu/run.h"
#include "cpu/softmax_row.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

using V = Vec<double>;

constexpr int64_t kItems = 512;  // items whose divergences are computed together

// Copies n items of row i from column j on, as contiguous float64 numbers.
template <class T>
STEEPEST_HD void widen_items(const MatrixView<const T>& m, int64_t i, int64_t j, int64_t n, double* to) {
    const T* const from = m.row(i) + j * m.col_stride;
    if (m.col_stride == 1)
        for (int64_t q = 0; q < n; ++q) to[q] = static_cast<double>(from[q]);
    else
        for (int64_t q = 0; q < n; ++q) to[q] = static_cast<double>(from[q * m.col_stride]);
}

// The sum of weighted divergences of items. Items are collected from row after row, however short, until there are
// kItems.
template <int In, class Formula>
class ItemSum {
  public:
    static constexpr size_t kBytes = (In + 1) * kItems * sizeof(double);

    ItemSum(void* memory, const Formula& formula) : formula_(formula), weight_(static_cast<double*>(memory)) {}

    template <class T>
    STEEPEST_HD void add_row(const DivergenceItems<T, In>& items, int64_t i, double weight) {
        const int64_t cols = items.in[0].cols;
        for (int64_t j = 0, n; j < cols; j += n) {
            n = cols - j < kItems - size_ ? cols - j : kItems - size_;
            for (int k = 0; k < In; ++k) widen_items(items.in[k], i, j, n, in(k) + size_);
            for (int64_t q = 0; q < n; ++q) weight_[size_ + q] = weight;
            size_ += n;
            if (size_ == kItems) flush();
        }
    }

    STEEPEST_HD double total() {
        flush();
        return reduce_add(sum_);
    }

  private:
    STEEPEST_HD double* in(int k) { return weight_ + (1 + k) * kItems; }

    STEEPEST_HD void flush() {
        // The last vector is padded with items of equal distributions.
        for (; size_ % V::kSize != 0; ++size_) {
            weight_[size_] = 0;
            for (int k = 0; k < In; ++k) in(k)[size_] = 0;
        }
        for (int64_t q = 0; q < size_; q += V::kSize) {
            V x[In];
            for (int k = 0; k < In; ++k) x[k] = V::load(in(k) + q);
            // Rounding must not make a divergence negative; the order of the arguments propagates NaN.
            sum_ = fma(V::load(weight_ + q), max(V(0), formula_(x)), sum_);
        }
        size_ = 0;
    }

    Formula formula_;
    double* weight_;
    int64_t size_ = 0;
    V sum_{0};
};

// log(1 + d) for d >= 0
STEEPEST_HD double log1p_of(double d) { return first_lane(d > 1 ? log_positive(V(1 + d)) : log1p_unit(V(d))); }

// The divergence of a row of classes: log1p(sum_j p_j (exp(u_j) - 1 - u_j)) with p = softmax(z) and u = t - sum_j p_j
// t_j, whose mean is 0.
STEEPEST_HD double divergence_of_classes(const double* z, const double* w, int64_t n) {
    const double infinity = __builtin_inf(), huge = 600;
    const V absent(-infinity), top(maximum_of_row(z, n));
    const auto for_each_pair = [=](auto&& f) {
        for_each_vector<double>(0, n, [&](int64_t j, int lanes) {
            f(load_items(z + j, 1, lanes, absent), load_items(w + j, 1, lanes, absent));
        });
    };
    V exponentials(0), products(0);
    for_each_pair([&](V z_j, V w_j) {
        const V e = exp_nonpositive(z_j - top);
        exponentials = exponentials + e, products = products + times_infinite(e, difference(w_j, z_j));
    });
    const double sum = reduce_add(exponentials), mean = reduce_add(products) / sum;
    if (!(mean > -infinity)) return -mean;  // a class has probability 0 in q but not in p; or NaN
    const double log_sum = first_lane(log_positive(V(sum)));
    // log(p_j exp(u_j)): it differs from log(q_j) by the constant that makes the mean of u zero
    const auto log_other = [=](V w_j) { return (w_j - top) - V(log_sum + mean); };
    V remainders(0), largest(-infinity);
    for_each_pair([&](V z_j, V w_j) {
        const V b = log_other(w_j);
        remainders = remainders + scaled_exp_remainder((z_j - top) - V(log_sum), b, difference(w_j, z_j) - V(mean));
        largest = max(largest, b);
    });
    const double above = reduce_max(largest), remainder = reduce_add(remainders);
    if (!(above > huge)) return remainder < infinity ? log1p_of(remainder) : remainder;
    V shares(0);
    for_each_pair([&](V, V w_j) { shares = shares + exp_nonpositive(log_other(w_j) - V(above)); });
    return above + first_lane(log_positive(V(reduce_add(shares))));
}

}  // namespace

template <class T>
void run(const ops::OutputDivergence<T>& op, Team& team) {
    const FlushSubnormals flush;
    const int64_t n = op.z.rows, c = op.z.cols;
    const RowWeights<T> weights{op.sample_weight, {}, false, 0};
    const double total = weights.sum(n), scale = total != 0 ? 1 / total : 0;
    // A row of weight 0 is skipped, since it may hold NaN.
    if (op.distribution == Distribution::kCategorical) {
        double* const z = static_cast<double*>(team.scratch(2 * c * sizeof(double)));
        return sum_over_rows(n, scale, op.out, team, [&](Range rows) {
            double sum = 0;
            for (int64_t i = rows.begin; i < rows.end; ++i) {
                const double weight = weights[i];
                if (weight == 0) continue;
                widen_items(op.z, i, 0, c, z), widen_items(op.w, i, 0, c, z + c);
                sum += weight * divergence_of_classes(z, z + c, c);
            }
            return sum;
        });
    }
    with_divergence(op, [&]<int In>(const DivergenceItems<T, In>& items, auto formula) {
        using Sum = ItemSum<In, decltype(formula)>;
        void* const memory = team.scratch(Sum::kBytes);
        sum_over_rows(n, scale, op.out, team, [&](Range rows) {
            Sum sum(memory, formula);
            for (int64_t i = rows.begin; i < rows.end; ++i)
                if (weights[i] != 0) sum.add_row(items, i, weights[i]);
            return sum.total();
        });
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(OutputDivergence)
