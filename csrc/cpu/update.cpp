#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T, class Rule>
STEEPEST_HD void update_items(const Rule& rule, const ops::UpdateTensor<T>& t, int64_t i, int64_t j, int lanes) {
    using V = Vec<T>;
    V param = load_items<T>(&t.param(i, j), t.param.col_stride, lanes);
    const V grad = load_items(&t.grad(i, j), t.grad.col_stride, lanes);
    V state[2];
    for (int s = 0; s < Rule::kStates; ++s) state[s] = load_items<T>(&t.state[s](i, j), t.state[s].col_stride, lanes);
    if constexpr (Rule::kStates == 0) rule(param, grad);
    if constexpr (Rule::kStates == 1) rule(param, grad, state[0]);
    if constexpr (Rule::kStates == 2) rule(param, grad, state[0], state[1]);
    store_items(param, &t.param(i, j), t.param.col_stride, lanes);
    for (int s = 0; s < Rule::kStates; ++s) store_items(state[s], &t.state[s](i, j), t.state[s].col_stride, lanes);
}

// A tensor of many columns is shared out by columns, as the products that read and write it are: what a member
// updates it has in its own cache. Others are shared out by rows.
template <class T, class Rule>
void update(const ops::TensorList<T>& list, const Rule& rule, Team& team) {
    constexpr int64_t kCols = kTileVectors * Vec<T>::kSize;
    for (const auto& t : list.tensors) {
        const int64_t rows = t.param.rows, cols = t.param.cols;
        const bool by_columns = rows == 1 || cols >= kCols * team.size();
        const Range row_range = by_columns ? Range{0, rows} : team.split(rows, 1 + 64 / cols);
        const Range col_range = by_columns ? team.split(cols, kCols) : Range{0, cols};
        for (int64_t i = row_range.begin; i < row_range.end; ++i)
            for_each_vector<T>(col_range.begin, col_range.end, [&](int64_t j, int lanes) { update_items(rule, t, i, j, lanes); });
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
