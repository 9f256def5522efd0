#include "cpu/flush_subnormals.h"
#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kAhead = 128;  // items that are fetched ahead: the second-level cache answers about that late

// n contiguous items.
template <class T, class Rule>
STEEPEST_HD void update_span(Rule rule, T* param, const T* grad, T* state0, T* state1, int64_t n) {
    using V = Vec<T>;
    const auto update_vector = [=](int64_t j, int lanes) {
        __builtin_prefetch(param + j + kAhead, 1), __builtin_prefetch(grad + j + kAhead);
        if constexpr (Rule::kStates > 0) __builtin_prefetch(state0 + j + kAhead, 1);
        if constexpr (Rule::kStates > 1) __builtin_prefetch(state1 + j + kAhead, 1);
        V p = load_items<T>(param + j, 1, lanes);
        const V g = load_items<T>(grad + j, 1, lanes);
        if constexpr (Rule::kStates == 0) rule(p, g);
        if constexpr (Rule::kStates > 0) {
            V s0 = load_items<T>(state0 + j, 1, lanes);
            if constexpr (Rule::kStates == 1) rule(p, g, s0);
            if constexpr (Rule::kStates == 2) {
                V s1 = load_items<T>(state1 + j, 1, lanes);
                rule(p, g, s0, s1);
                store_items(s1, state1 + j, 1, lanes);
            }
            store_items(s0, state0 + j, 1, lanes);
        }
        store_items(p, param + j, 1, lanes);
    };
    for_each_vector<T>(0, n, update_vector);
}

// Columns begin .. end of row i. Strided items are copied together and back, a vector at a time.
template <class T, class Rule>
void update_row(const Rule& rule, const ops::UpdateTensor<T>& t, int64_t i, int64_t begin, int64_t end) {
    const auto unit = [](const auto& m) { return !m || m.col_stride == 1; };
    if (unit(t.param) && unit(t.grad) && unit(t.state[0]) && unit(t.state[1])) {
        const auto at = [&](const auto& m) { return m ? m.row(i) + begin : nullptr; };
        return update_span(rule, at(t.param), at(t.grad), at(t.state[0]), at(t.state[1]), end - begin);
    }
    constexpr int kSize = Vec<T>::kSize;
    alignas(64) T copy[4][kSize];
    for_each_vector<T>(begin, end, [&](int64_t j, int lanes) {
        const auto gather = [&](const auto& m, T* to) {
            for (int l = 0; m && l < lanes; ++l) to[l] = m(i, j + l);
        };
        const auto scatter = [&](const auto& m, const T* from) {
            for (int l = 0; m && l < lanes; ++l) m(i, j + l) = from[l];
        };
        gather(t.param, copy[0]), gather(t.grad, copy[1]), gather(t.state[0], copy[2]), gather(t.state[1], copy[3]);
        update_span(rule, copy[0], copy[1], copy[2], copy[3], lanes);
        scatter(t.param, copy[0]), scatter(t.state[0], copy[2]), scatter(t.state[1], copy[3]);
    });
}

// Tensors are shared out by rows, as the products that write their gradients are, and as the ones that read them with
// a small batch: what a member updates is in its own cache.
template <class T, class Rule>
void update(const ops::TensorList<T>& list, const Rule& rule, Team& team) {
    constexpr int64_t kItems = kTileVectors * Vec<T>::kSize;
    const FlushSubnormals flush;
    for (const auto& t : list.tensors) {
        const int64_t rows = t.param.rows, cols = t.param.cols;
        const Range row_range = rows == 1 ? Range{0, 1} : team.split(rows, 1 + 64 / cols);
        const Range col_range = rows == 1 ? team.split(cols, kItems) : Range{0, cols};
        if (col_range.empty()) continue;
        for (int64_t i = row_range.begin; i < row_range.end; ++i)
            update_row(rule, t, i, col_range.begin, col_range.end);
    }
}

}  // namespace

template <class T>
void run(const ops::SgdUpdate<T>& op, Team& team) {
    const SgdParameters parameters{op.lr.get(), op.momentum, op.weight_decay, op.nesterov};
    if (!op.list.tensors.empty() && op.list.tensors[0].state[0])
        update(op.list, SgdRule<T>(parameters), team);
    else
        update(op.list, PlainSgdRule<T>(parameters), team);
}

template <class T>
void run(const ops::AdamUpdate<T>& op, Team& team) {
    update(op.list, AdamRule<T>({op.lr.get(), op.beta1, op.beta2, op.eps, op.weight_decay, op.step.get()}), team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SgdUpdate)
STEEPEST_INSTANTIATE(AdamUpdate)
