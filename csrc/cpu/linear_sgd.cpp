#include <new>

#include "cpu/flush_subnormals.h"
#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kBlock = 64;            // samples between two visits of what need not be done for each of them
constexpr int64_t kRowsAhead = 8;     // that are asked for before they are used: about the time that memory takes
constexpr double kSmallScale = 1e-3;  // below it, the scale joins the weights

struct PointLoss {
    double value, slope;
};
using LossOfPoint = PointLoss (*)(double parameter, double z, double t);

template <class Formula>
PointLoss loss_of_point(double parameter, double z, double t) {
    using V = Vec<double>;
    const Formula formula = make_loss<Formula>(parameter);
    return {first_lane(formula.value(V(z), V(t))), first_lane(slope_of_step(formula, V(z), V(t)))};
}

// Rates of the samples t, t + 1, ... of a block; the general power by way of vectors.
void rates_of_block(const StepRule& rule, int64_t t, double (&rates)[kBlock]) {
    using V = Vec<double>;
    if (rule.power == 0 || rule.power == 1) {
        for (int i = 0; i < kBlock; ++i) rates[i] = rule.rate(static_cast<double>(t + i));
        return;
    }
    for (int i = 0; i < kBlock; ++i) rates[i] = rule.t0 + static_cast<double>(t + i);
    for (int i = 0; i < kBlock; i += V::kSize)
        (V(rule.lr) * exp(V(-rule.power) * log_positive(V::load(rates + i)))).store(rates + i);
}

// x . w for a row of x and one of weights; beside it, adds up what the penalties need of the weights on the way.
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

template <class T>
double square_of(const T* x, int64_t d) {
    double square = 0;
    for_each_vector<T>(0, d, [&](int64_t j, int lanes) {
        const Vec<T> items = load_items(x + j, 1, lanes);
        square += reduce_add_wide(items * items);
    });
    return square;
}

// One output while its samples pass. Its weights are scale times a row of items, so that the L2 penalty takes one
// product and loses nothing to the rounding of 1 - rate l2.
template <class T>
class Output {
    using V = Vec<T>;

  public:
    static int64_t padded(int64_t d) { return (d + V::kSize - 1) / V::kSize * V::kSize; }
    static constexpr int kRows = 3;  // of padded length, of its memory

    Output(const ops::LinearSgd<T>& op, const StepRule& rule, int64_t c, T* memory)
        : op_(op),
          rule_(rule),
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

    // Sample number t; `square` is |x|² where the rule needs it.
    STEEPEST_HD void take(const T* x, double target, double weight, double rate, double square, bool averages,
                          LossOfPoint loss_of) {
        const double factor = class_weight_[target > 0] * weight;
        const double z = scale_ * static_cast<double>(product_with(x)) + bias_;
        PointLoss loss = loss_of(op_.parameter, z, target);
        loss.value *= op_.loss_scale, loss.slope *= op_.loss_scale;
        objective_ += loss.value;
        const double c = rule_.coefficient(loss.value, loss.slope, rate, square, factor);
        if (rule_.l2 > 0) shrink(rule_.decay(rate));
        if (c != 0) {
            const V step(static_cast<T>(c * inverse_scale_));
            for_each_vector<T>(0, d_, [&](int64_t j, int lanes) {
                fma(step, load_items(x + j, 1, lanes), V::load(item_ + j)).store(item_ + j);
            });
            if (op_.b) bias_ += c;
        }
        if (rule_.l1 > 0) {
            allowed_ += rule_.l1 * rate;
            clip();
        }
        if (averages) {
            ++summed_;
            bias_sum_ += bias_;
            const V factor(static_cast<T>(scale_));
            for_each_item([&](int64_t j) { fma(factor, V::load(item_ + j), V::load(sum_ + j)).store(sum_ + j); });
        }
    }

    // After a block: sums join what they are sums of. `averaged` samples are in the average before this block.
    void end_block(int64_t averaged) {
        objective_ += reduce_add_wide(V::load(penalty_));
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
    template <class F>
    STEEPEST_HD void for_each_item(F&& f) {
        for (int64_t j = 0; j < size_; j += V::kSize) f(j);
    }

    // x . w, but for the scale; what the penalties are at these weights joins their sum.
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

    // Each weight goes towards 0 by what the penalty was allowed to take and has not taken yet, but not past it.
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
    int64_t c_, d_, size_;
    T *item_, *taken_, *sum_;
    alignas(64) T penalty_[V::kSize] = {};
    double scale_ = 1, inverse_scale_ = 1, bias_ = 0, allowed_ = 0, average_bias_ = 0, bias_sum_ = 0, objective_ = 0;
    double class_weight_[2] = {1, 1};
    int64_t summed_ = 0;
};

template <class T>
STEEPEST_HD void fetch_row(const MatrixView<const T>& x, int64_t i) {
    if (x.col_stride != 1) return;
    const char* const row = reinterpret_cast<const char*>(x.row(i));
    const int64_t bytes = x.cols * static_cast<int64_t>(sizeof(T));
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at);
}

// Whether all are rows of a matrix of n rows; otherwise the team fails with the first that is not.
bool check_indices(const VectorView<const int64_t>& indices, int64_t n, const char* operation, Team& team) {
    for (int64_t i = 0; i < indices.size; ++i) {
        if (static_cast<uint64_t>(indices[i]) < static_cast<uint64_t>(n)) continue;
        Failure failure;
        failure.kind = Failure::kIndex, failure.operation = operation;
        failure.value = indices[i], failure.position = i, failure.limit = n;
        team.fail(failure);
        return false;
    }
    return true;
}

}  // namespace

// Samples follow one another, so the members share the outputs.
template <class T>
void run(const ops::LinearSgd<T>& op, Team& team) {
    const int64_t n = op.samples(), d = op.w.rows, k = op.w.cols, first = *op.step;
    if (op.order && !check_indices(op.order, op.x.rows, op.kName, team)) return;
    const FlushSubnormals flush;
    const StepRule rule{op.lr.get(), op.power, op.t0, op.l1, op.l2, op.passive_aggressive};
    const bool needs_square = rule.passive_aggressive != PassiveAggressive::kNot;
    LossOfPoint loss_of = nullptr;
    with_loss(op.loss, op.parameter, [&](auto formula) { loss_of = loss_of_point<decltype(formula)>; });

    const Range mine = team.split(k, 1);
    const int64_t outputs = mine.end - mine.begin, row_items = Output<T>::kRows * Output<T>::padded(d);
    const size_t row_bytes = static_cast<size_t>((outputs * row_items + Output<T>::padded(d)) * sizeof(T));
    char* const memory = static_cast<char*>(team.scratch(row_bytes + outputs * sizeof(Output<T>) + 64));
    T* const items = reinterpret_cast<T*>(memory);
    T* const buffer = items + outputs * row_items;
    auto* const output = reinterpret_cast<Output<T>*>(memory + (row_bytes + 63) / 64 * 64);
    for (int64_t c = 0; c < outputs; ++c) new (output + c) Output<T>(op, rule, mine.begin + c, items + c * row_items);

    const auto row_of = [&](int64_t i) { return op.order ? op.order[i] : i; };
    double rates[kBlock];
    int64_t taken = 0;
    for (int64_t begin = 0; begin < n && outputs > 0; begin += kBlock) {
        const int64_t end = n - begin < kBlock ? n : begin + kBlock;
        rates_of_block(rule, first + begin + 1, rates);
        const int64_t counted = first + taken + 1 - op.average_start;  // samples in the average
        for (int64_t i = begin; i < end; ++i) {
            if (i + kRowsAhead < n) fetch_row(op.x, row_of(i + kRowsAhead));
            const int64_t r = row_of(i);
            const T* const x = contiguous_row(op.x, r, buffer);
            const double square = needs_square ? square_of(x, d) : 0;
            if (rule.skips(square)) continue;
            ++taken;
            const bool averages = op.average_w && first + taken >= op.average_start;
            const double weight = op.sample_weight ? static_cast<double>(op.sample_weight[r]) : 1.0;
            for (int64_t c = 0; c < outputs; ++c) {
                const double target = op.target
                                          ? static_cast<double>(op.target(r, mine.begin + c))
                                          : target_of_class(op.loss, is_positive(op.labels[r], mine.begin + c, k));
                output[c].take(x, target, weight, rates[i - begin], square, averages, loss_of);
            }
        }
        for (int64_t c = 0; c < outputs; ++c) output[c].end_block(counted > 0 ? counted : 0);
    }
    for (int64_t c = 0; c < outputs; ++c) output[c].store();
    team.barrier();  // all have read the number of samples
    if (team.rank() == 0) *op.step = first + taken;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(LinearSgd)
