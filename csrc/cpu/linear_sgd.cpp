#include <new>

#include "cpu/flush_subnormals.h"
#include "cpu/linear_sgd_output.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kRowsAhead = 32;  // that are asked for before they are used: about the time that memory takes

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

template <class T>
double square_of(const T* x, int64_t d) {
    double square = 0;
    for_each_vector<T>(0, d, [&](int64_t j, int lanes) {
        const Vec<T> items = load_items(x + j, 1, lanes);
        square += reduce_add_wide(items * items);
    });
    return square;
}

template <class T>
STEEPEST_HD void fetch_row(const MatrixView<const T>& x, int64_t i) {
    if (x.col_stride != 1) return;
    const char* const row = reinterpret_cast<const char*>(x.row(i));
    const int64_t bytes = x.cols * static_cast<int64_t>(sizeof(T));
    for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at);
    __builtin_prefetch(row + bytes - 1);
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
    LossFunctions loss{};
    with_loss(op.loss, op.parameter, [&](auto formula) { loss = loss_functions<decltype(formula)>(); });

    const Range mine = team.split(k, 1);
    const int64_t outputs = mine.end - mine.begin, padded = Output<T>::padded(d), row_items = Output<T>::kRows * padded;
    const size_t row_bytes = static_cast<size_t>((outputs * row_items + kGroup * padded) * sizeof(T));
    char* const memory = static_cast<char*>(team.scratch(row_bytes + outputs * sizeof(Output<T>) + 64));
    T* const items = reinterpret_cast<T*>(memory);
    T* const buffers = items + outputs * row_items;
    auto* const output = reinterpret_cast<Output<T>*>(memory + (row_bytes + 63) / 64 * 64);
    for (int64_t c = 0; c < outputs; ++c)
        new (output + c) Output<T>(op, rule, loss, mine.begin + c, items + c * row_items);

    const auto row_of = [&](int64_t i) { return op.order ? op.order[i] : i; };
    const auto sample_at = [&](int64_t r, int64_t c, double rate) {
        const double target = op.target ? static_cast<double>(op.target(r, mine.begin + c))
                                        : target_of_class(op.loss, is_positive(op.labels[r], mine.begin + c, k));
        return OutputSample{target, op.sample_weight ? static_cast<double>(op.sample_weight[r]) : 1.0, rate};
    };
    const bool may_group = !needs_square && op.l1 == 0 && !op.average_w;
    double rates[kBlock];
    int64_t taken = 0;

    const auto take_one = [&](int64_t i, double rate) {
        const int64_t r = row_of(i);
        const T* const x = contiguous_row(op.x, r, buffers);
        const double square = needs_square ? square_of(x, d) : 0;
        if (rule.skips(square)) return;
        ++taken;
        for (int64_t c = 0; c < outputs; ++c) {
            OutputSample sample = sample_at(r, c, rate);
            sample.square = square, sample.averages = op.average_w && first + taken >= op.average_start;
            output[c].take(x, sample);
        }
    };
    const auto take_group = [&](int64_t i, const double* rate) {
        int64_t r[kGroup];
        RowGroup<T> rows;
        for (int a = 0; a < kGroup; ++a)
            r[a] = row_of(i + a), rows.row[a] = contiguous_row(op.x, r[a], buffers + a * padded);
        rows.multiply(d);
        taken += kGroup;
        for (int64_t c = 0; c < outputs; ++c) {
            OutputSample samples[kGroup];
            for (int a = 0; a < kGroup; ++a) samples[a] = sample_at(r[a], c, rate[a]);
            output[c].take(rows, samples);
        }
    };

    for (int64_t begin = 0; begin < n && outputs > 0; begin += kBlock) {
        const int64_t end = n - begin < kBlock ? n : begin + kBlock;
        rates_of_block(rule, first + begin + 1, rates);
        const bool groups = may_group && rule.decay(rates[0]) > kLeastDecay;  // the first rate is the largest
        const int64_t counted = first + taken + 1 - op.average_start;         // samples in the average
        for (int64_t i = begin; i < end;) {
            const int64_t together = groups && end - i >= kGroup ? kGroup : 1;
            for (int64_t a = 0; a < together; ++a)
                if (i + a + kRowsAhead < n) fetch_row(op.x, row_of(i + a + kRowsAhead));
            if (together == kGroup)
                take_group(i, rates + (i - begin));
            else
                take_one(i, rates[i - begin]);
            i += together;
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
