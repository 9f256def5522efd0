#include "cpu/flush_subnormals.h"
#include "cpu/run.h"
#include "cpu/softmax_row.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kGrain = 1024;  // smallest number of items that a thread takes

// The factor of H(z_i) v_i.
template <class T>
class RowScale {
  public:
    explicit RowScale(const ops::OutputFisher<T>& op) : weights_{op.sample_weight, {}, false, 0} {
        const double total = weights_.sum(op.z.rows);
        scale_ = total != 0 ? op.scale / total : 0;
    }
    bool is_constant() const { return !weights_.weight; }
    // A row of weight 0 is skipped, since it may hold NaN.
    bool counts(int64_t i) const { return weights_[i] != 0; }
    T operator[](int64_t i) const { return static_cast<T>(scale_ * weights_[i]); }

  private:
    RowWeights<T> weights_;
    double scale_;
};

// Calls f(i, z_i, v_i, out_i) for the rows of this thread with a nonzero weight; strided rows are copied.
template <class T, class F>
STEEPEST_HD void for_each_row(const MatrixView<const T>& z, const MatrixView<const T>& v, const MatrixView<T>& out,
                              const RowScale<T>& scale, T* scratch, Team& team, const F& f) {
    const int64_t n = z.cols;
    const Range mine = team.split(z.rows, 1 + kGrain / (n + 1));
    for (int64_t i = mine.begin; i < mine.end; ++i) {
        T* const to = writable_row(out, i, scratch + 2 * n);
        if (scale.counts(i))
            f(i, contiguous_row(z, i, scratch), contiguous_row(v, i, scratch + n), to);
        else
            for (int64_t j = 0; j < n; ++j) to[j] = T(0);
        put_row(out, i, to);
    }
}

// out = factor p (v - sum_j p_j v_j) for a row, p = softmax(z). `e` has room for a row. The result does not change if
// v_k is subtracted from v. With k the most probable class, this keeps accuracy where p_k is nearly 1: the sum then has
// small terms only, and the difference for k is minus that sum.
template <class T>
STEEPEST_HD void multiply_classes(const T* z, const T* v, T factor, T* e, T* out, int64_t n) {
    using V = Vec<T>;
    if (n <= V::kSize) {  // the row stays in registers
        const int lanes = static_cast<int>(n);
        const V logits = V::load(z, lanes, V(-__builtin_inf())), vector = V::load(v, lanes);
        const V maximum(reduce_max(logits)), exponentials = exp_nonpositive(logits - maximum);
        const V shifted = vector - V(reduce_max(select(logits == maximum, vector, V(-__builtin_inf()))));
        const T sum = reduce_add(exponentials), mean = reduce_add(exponentials * shifted) / sum;
        (exponentials * V(factor / sum) * (shifted - V(mean))).store(out, lanes);
        return;
    }
    const T maximum = maximum_of_row(z, n), sum = exponentiate_row(z, maximum, e, n);
    const T at_maximum = value_at(maximum, z, v, n);
    const V shift(at_maximum), mean(shifted_dot(e, v, at_maximum, n) / sum), scale(factor / sum);
    for_each_vector<T>(0, n, [=](int64_t j, int lanes) {
        const V shifted = load_items(v + j, 1, lanes) - shift;
        store_items(load_items<T>(e + j, 1, lanes) * scale * (shifted - mean), out + j, 1, lanes);
    });
}

template <class T, class Formula>
STEEPEST_HD void multiply_items(const T* z, const T* v, T factor, const Formula& formula, T* out, int64_t n) {
    for_each_vector<T>(0, n, [=](int64_t j, int lanes) {
        store_items(Vec<T>(factor) * formula(load_items(z + j, 1, lanes), load_items(v + j, 1, lanes)), out + j, 1,
                    lanes);
    });
}

}  // namespace

template <class T>
void run(const ops::OutputFisher<T>& op, Team& team) {
    const FlushSubnormals flush;
    const RowScale<T> scale(op);
    T* const scratch = static_cast<T*>(team.scratch(4 * op.z.cols * sizeof(T)));
    if (op.distribution == Distribution::kCategorical)
        return for_each_row(op.z, op.v, op.out, scale, scratch, team, [&](int64_t i, const T* z, const T* v, T* out) {
            multiply_classes(z, v, scale[i], scratch + 3 * op.z.cols, out, op.z.cols);
        });
    for_each_information(op, [&](const auto& z, const auto& v, const auto& out, auto formula) {
        if (scale.is_constant() && is_flat(z) && is_flat(v) && is_flat(out)) {
            if (z.rows == 0) return;
            const Range mine = team.split(z.rows * z.cols, kGrain);
            return multiply_items(z.data + mine.begin, v.data + mine.begin, scale[0], formula, out.data + mine.begin,
                                  mine.end - mine.begin);
        }
        for_each_row(z, v, out, scale, scratch, team, [&](int64_t i, const T* z_row, const T* v_row, T* out_row) {
            multiply_items(z_row, v_row, scale[i], formula, out_row, z.cols);
        });
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(OutputFisher)
