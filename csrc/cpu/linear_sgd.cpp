#include <new>

#include "cpu/flush_subnormals.h"
#include "cpu/linear_sgd_output.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kIndicesBetweenCheckpoints = 1 << 16;
constexpr int64_t kRowsAhead = 32;  // rows that are prefetched before their use, about the latency of memory

// The learning rates of samples t, t + 1, ... of a block; a general power is computed with vectors.
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

template <class T>
double square_of(const T* x, int64_t d) {
    double square = 0;
    for_each_vector<T>(0, d, [&](int64_t j, int lanes) {
        const Vec<T> items = load_items(x + j, 1, lanes);
        square += reduce_add_wide(items * items);
    });
    return square;
}

// Into the second-level cache: the group that is processed meanwhile keeps the first-level one, and its queue of misses.
template <class T>
STEEPEST_HD void fetch_row(const MatrixView<const T>& x, int64_t i) {
    if (x.col_stride != 1) return;
    const char* const row = reinterpret_cast<const char*>(x.row(i));
    const int64_t bytes = x.cols * static_cast<int64_t>(sizeof(T));
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at, 0, 2);
    __builtin_prefetch(row + bytes - 1, 0, 2);
}

// Whether all indices are rows of a matrix of n rows. If not, the team fails with the first that is not.
bool check_indices(const VectorView<const int64_t>& indices, int64_t n, OperationNumber operation, Team& team) {
    for (int64_t i = 0; i < indices.size; ++i) {
        if (i % kIndicesBetweenCheckpoints == 0) team.checkpoint();
        if (static_cast<uint64_t>(indices[i]) < static_cast<uint64_t>(n)) continue;
        Failure failure;
        failure.kind = Failure::kIndex, failure.operation = operation;
        failure.value = indices[i], failure.position = i, failure.limit = n;
        team.fail(failure);
        return false;
    }
    return true;
}

// One call of stochastic gradient descent, for the outputs of one thread.
template <class T>
class Descent {
  public:
    Descent(const ops::LinearSgd<T>& op, Range outputs, Team& team)
        : op_(op),
          team_(team),
          rule_{op.lr.get(), op.power, op.t0, op.l1, op.l2, op.passive_aggressive},
          first_output_(outputs.begin),
          outputs_(outputs.end - outputs.begin),
          padded_(Output<T>::padded(op.w.rows)),
          first_(*op.step) {
        with_loss(op.loss, op.parameter, [&](auto formula) { loss_ = loss_functions<decltype(formula)>(); });
        const int64_t output_items = Output<T>::kRows * padded_;
        const size_t bytes = static_cast<size_t>((outputs_ * output_items + kGroup * padded_) * sizeof(T));
        char* const memory = static_cast<char*>(team.scratch(bytes + outputs_ * sizeof(Output<T>) + 64));
        T* const items = reinterpret_cast<T*>(memory);
        buffers_ = items + outputs_ * output_items;
        output_ = reinterpret_cast<Output<T>*>(memory + (bytes + 63) / 64 * 64);
        for (int64_t c = 0; c < outputs_; ++c)
            new (output_ + c) Output<T>(op, rule_, loss_, first_output_ + c, items + c * output_items);
    }

    // Returns the number of samples that steps were taken for.
    int64_t run() {
        const int64_t n = op_.samples();
        double rates[kBlock];
        for (int64_t begin = 0; begin < n; begin += kBlock) {
            const int64_t end = n - begin < kBlock ? n : begin + kBlock;
            team_.checkpoint();
            rates_of_block(rule_, first_ + begin + 1, rates);
            const bool groups = may_group(rates[0]);
            const int64_t counted = first_ + taken_ + 1 - op_.average_start;  // number of samples in the average
            for (int64_t i = begin; i < end;) {
                const int64_t together = groups && end - i >= kGroup ? kGroup : 1;
                for (int64_t a = i + kRowsAhead; a < i + kRowsAhead + together && a < n; ++a)
                    fetch_row(op_.x, row_of(a));
                if (together == 1 || !take_group(i, rates + (i - begin)))
                    for (int64_t a = i; a < i + together; ++a) take(a, rates[a - begin]);
                i += together;
            }
            for (int64_t c = 0; c < outputs_; ++c) output_[c].end_block(counted > 0 ? counted : 0);
        }
        for (int64_t c = 0; c < outputs_; ++c) output_[c].store();
        return taken_;
    }

  private:
    int64_t row_of(int64_t i) const { return op_.order ? op_.order[i] : i; }

    OutputSample sample(int64_t row, int64_t output, double rate) const {
        const int64_t c = first_output_ + output;
        const double target = op_.target ? static_cast<double>(op_.target(row, c))
                                         : target_of_class(op_.loss, is_positive(op_.labels[row], c, op_.w.cols));
        return {target, op_.sample_weight ? static_cast<double>(op_.sample_weight[row]) : 1.0, rate};
    }

    // Whether samples may be grouped; no rate of a block is larger than its first.
    bool may_group(double rate) const {
        return rule_.passive_aggressive == PassiveAggressive::kNot && op_.l1 == 0 && !op_.average_w &&
               rule_.decay(rate) > kLeastDecay;
    }

    STEEPEST_HD void take(int64_t i, double rate) {
        const int64_t row = row_of(i);
        const T* const x = contiguous_row(op_.x, row, buffers_);
        const bool needs_square = rule_.passive_aggressive != PassiveAggressive::kNot;
        const double square = needs_square ? square_of(x, op_.w.rows) : 0;
        if (rule_.skips(square)) return;
        ++taken_;
        for (int64_t c = 0; c < outputs_; ++c) {
            OutputSample s = sample(row, c, rate);
            s.square = square, s.averages = op_.average_w && first_ + taken_ >= op_.average_start;
            output_[c].take(x, s);
        }
    }

    // Returns whether the group was processed; it is not if a square overflows.
    STEEPEST_HD bool take_group(int64_t i, const double* rates) {
        RowGroup<T> rows;
        for (int a = 0; a < kGroup; ++a) rows.row[a] = contiguous_row(op_.x, row_of(i + a), buffers_ + a * padded_);
        if (!rows.multiply(op_.w.rows)) return false;
        taken_ += kGroup;
        for (int64_t c = 0; c < outputs_; ++c) {
            OutputSample samples[kGroup];
            for (int a = 0; a < kGroup; ++a) samples[a] = sample(row_of(i + a), c, rates[a]);
            output_[c].take(rows, samples);
        }
        return true;
    }

    const ops::LinearSgd<T>& op_;
    Team& team_;
    StepRule rule_;
    LossFunctions loss_{};
    int64_t first_output_, outputs_, padded_;
    int64_t first_, taken_ = 0;  // number of samples before this call, and in it
    T* buffers_;                 // copies of rows whose columns are strided
    Output<T>* output_;
};

}  // namespace

// Samples depend on one another, so the threads divide the outputs.
template <class T>
void run(const ops::LinearSgd<T>& op, Team& team) {
    if (op.order && !check_indices(op.order, op.x.rows, number_of(op), team)) return;
    const FlushSubnormals flush;
    const int64_t first = *op.step;
    const Range outputs = team.split(op.w.cols, 1);
    const int64_t taken = outputs.empty() ? 0 : Descent<T>(op, outputs, team).run();
    team.barrier();  // all have read the number of samples
    if (team.rank() == 0) *op.step = first + taken;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(LinearSgd)
