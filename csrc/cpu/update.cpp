#include "cpu/flush_subnormals.h"
#include "cpu/reduce_span.h"
#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kAhead = 128;  // items that are prefetched, about the latency of the L2 cache

// Updates `lanes` contiguous items.
template <class Rule, bool kAdjusts, class T>
STEEPEST_HD void update_vector(const StepNumbers<T>& numbers, T* param, const T* grad, T* state0, T* state1,
                               int lanes) {
    using V = Vec<T>;
    V p = load_items<T>(param, 1, lanes), s0(0), s1(0);
    const V g = load_items<T>(grad, 1, lanes);
    if constexpr (Rule::kStates > 0) s0 = load_items<T>(state0, 1, lanes);
    if constexpr (Rule::kStates > 1) s1 = load_items<T>(state1, 1, lanes);
    take_step<Rule, kAdjusts>(numbers, p, g, s0, s1);
    if constexpr (Rule::kStates > 1) store_items(s1, state1, 1, lanes);
    if constexpr (Rule::kStates > 0) store_items(s0, state0, 1, lanes);
    store_items(p, param, 1, lanes);
}

// Updates n contiguous items.
template <class Rule, bool kAdjusts, class T>
STEEPEST_HD void update_span(StepNumbers<T> numbers, T* param, const T* grad, T* state0, T* state1, int64_t n) {
    for_each_vector<T>(0, n, [=](int64_t j, int lanes) {
        __builtin_prefetch(param + j + kAhead, 1), __builtin_prefetch(grad + j + kAhead);
        if constexpr (Rule::kStates > 0) __builtin_prefetch(state0 + j + kAhead, 1);
        if constexpr (Rule::kStates > 1) __builtin_prefetch(state1 + j + kAhead, 1);
        update_vector<Rule, kAdjusts>(numbers, param + j, grad + j, Rule::kStates > 0 ? state0 + j : nullptr,
                                      Rule::kStates > 1 ? state1 + j : nullptr, lanes);
    });
}

// Updates columns begin .. end of row i. Strided items are copied to a vector and back.
template <class Rule, bool kAdjusts, class T>
void update_row(const StepNumbers<T>& numbers, const ops::UpdateTensor<T>& t, int64_t i, int64_t begin, int64_t end) {
    const auto unit = [](const auto& m) { return !m || m.col_stride == 1; };
    if (unit(t.param) && unit(t.grad) && unit(t.state[0]) && unit(t.state[1])) {
        const auto at = [&](const auto& m) { return m ? m.row(i) + begin : nullptr; };
        return update_span<Rule, kAdjusts>(numbers, at(t.param), at(t.grad), at(t.state[0]), at(t.state[1]),
                                           end - begin);
    }
    constexpr int kSize = Vec<T>::kSize;
    alignas(64) T copy[4][kSize] = {};
    for_each_vector<T>(begin, end, [&](int64_t j, int lanes) {
        const auto gather = [&](const auto& m, T* to) {
            for (int l = 0; m && l < lanes; ++l) to[l] = m(i, j + l);
        };
        const auto scatter = [&](const auto& m, const T* from) {
            for (int l = 0; m && l < lanes; ++l) m(i, j + l) = from[l];
        };
        gather(t.param, copy[0]), gather(t.grad, copy[1]), gather(t.state[0], copy[2]), gather(t.state[1], copy[3]);
        update_vector<Rule, kAdjusts>(numbers, copy[0], copy[1], copy[2], copy[3], lanes);
        scatter(t.param, copy[0]), scatter(t.state[0], copy[2]), scatter(t.state[1], copy[3]);
    });
}

// A tensor is divided by rows, like the products that write its gradient, and those that read it with a small batch.
// The items that a thread updates are then in its own cache.
template <class Rule, bool kAdjusts, class T>
void update_tensor(const StepNumbers<T>& numbers, const ops::UpdateTensor<T>& t, Team& team) {
    constexpr int64_t kItems = kTileVectors * Vec<T>::kSize;
    const int64_t rows = t.param.rows, cols = t.param.cols;
    const Range row_range = rows == 1 ? Range{0, 1} : team.split(rows, 1 + 64 / cols);
    const Range col_range = rows == 1 ? team.split(cols, kItems) : Range{0, cols};
    if (col_range.empty()) return;
    for (int64_t i = row_range.begin; i < row_range.end; ++i)
        update_row<Rule, kAdjusts>(numbers, t, i, col_range.begin, col_range.end);
}

// The sum of the squares of items begin .. end, counted along the rows.
template <class T>
double sum_squares(const MatrixView<const T>& m, int64_t begin, int64_t end) {
    const bool one_row = m.rows == 1 || (m.col_stride == 1 && m.row_stride == m.cols);
    if (one_row) return reduce_span<SumOfSquares<T>>(m.data + begin * m.col_stride, m.col_stride, end - begin);
    double total = 0;
    while (begin < end) {
        const int64_t i = begin / m.cols, j = begin % m.cols;
        const int64_t n = m.cols - j < end - begin ? m.cols - j : end - begin;
        total += reduce_span<SumOfSquares<T>>(&m(i, j), m.col_stride, n);
        begin += n;
    }
    return total;
}

// The norm of all gradients. A chunk holds a piece of every tensor, so that a thread mostly reads gradients that it
// uses in the update; each small tensor is in one chunk.
template <class T>
double gradient_norm(const std::vector<ops::UpdateTensor<T>>& tensors, Team& team) {
    constexpr int64_t kSmall = 64 * kChunks;
    const Range mine = my_chunks(team);
    for (int64_t c = mine.begin; c < mine.end; ++c) {
        double total = 0;
        for (size_t t = 0; t < tensors.size(); ++t) {
            const auto& grad = tensors[t].grad;
            const int64_t size = grad.rows * grad.cols;
            if (size < kSmall && static_cast<int64_t>(t % kChunks) != c) continue;
            const Range chunk = size < kSmall ? Range{0, size} : chunk_of(size, static_cast<int>(c));
            total += sum_squares(grad, chunk.begin, chunk.end);
        }
        team.chunks()[c] = total;
    }
    team.barrier();  // all chunks are written
    double total = 0;
    for (int c = 0; c < kChunks; ++c) total += team.chunks()[c];
    return std::sqrt(total);
}

}  // namespace

template <class T>
void run(const ops::Update<T>& op, Team& team) {
    const FlushSubnormals flush;
    const double norm = op.adjustments.clips() ? gradient_norm(op.tensors, team) : 0;
    const StepNumbers<T> numbers(op.rule, op.parameters, op.adjustments, op.lr.get(), op.step.get(), norm);
    with_update_rule(op.rule, [&](auto rule) {
        using Rule = decltype(rule);
        for (const auto& t : op.tensors) {
            const StepNumbers<T> own = numbers.on(t.penalised);
            own.adjusts ? update_tensor<Rule, true>(own, t, team) : update_tensor<Rule, false>(own, t, team);
        }
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Update)
