#include "cpu/recurrent_steps.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T, class Cell>
void walk_back(const ops::RecurrenceBackward<T>& op, Cell, Team& team) {
    using V = Vec<T>;
    constexpr int kGates = Cell::kGates, kPlain = Cell::kResetsFirst ? kGates - 1 : kGates;
    const auto& layer = op.layer;
    const Spans& spans = layer.spans;
    const int64_t units = layer.units(), h_row = spread(units), s_row = spread(kGates * units);
    const auto plain = layer.weight.block(0, 0, units, kPlain * units).transposed();
    const auto last = layer.weight.block(0, kPlain * units, units, (kGates - kPlain) * units).transposed();

    Pieces pieces(team.scratch(SequencesOfThread::bytes(spans) +
                               Pieces::bytes<T>(StateProduct<T>::items(plain) + StateProduct<T>::items(last)) +
                               5 * Pieces::bytes<T>(kBlockSequences * h_row) +
                               Pieces::bytes<T>(kBlockSequences * s_row)));
    const SequencesOfThread mine(spans, pieces, team);
    if (mine.count() == 0) return;
    T* const packed = pieces.take<T>(StateProduct<T>::items(plain) + StateProduct<T>::items(last));
    T *const dh = pieces.take<T>(kBlockSequences * h_row), *const dc = pieces.take<T>(kBlockSequences * h_row);
    T *const h0 = pieces.take<T>(kBlockSequences * h_row), *const c0 = pieces.take<T>(kBlockSequences * h_row);
    T *const ds = pieces.take<T>(kBlockSequences * h_row), *const s = pieces.take<T>(kBlockSequences * s_row);
    const StateProduct<T> product(plain, spans.count, packed);
    const StateProduct<T> last_product(last, spans.count, packed + StateProduct<T>::items(plain));

    for_each_sequence_block(spans, mine, [&](const SequenceBlock& block) {
        get_states(block, op.d_h_last, units, dh, h_row), get_states(block, layer.h0, units, h0, h_row);
        if (Cell::kState)
            get_states(block, op.d_c_last, units, dc, h_row), get_states(block, layer.c0, units, c0, h_row);
        const auto hidden_before = [&](int i, int64_t t) {
            return before_step(op.out, block, i, t, layer.reverse, h0, h_row);
        };
        for (int64_t t = block.steps() - 1; t >= 0; --t) {
            team.checkpoint();
            const int active = block.active(t, block.count);
            for (int i = 0; i < active; ++i) {
                const int64_t step = block.row(i, t, layer.reverse);
                const T *const gates = op.gates.row(step), *const kept = op.kept ? op.kept.row(step) : nullptr;
                const T* const d_out = op.d_out ? op.d_out.row(step) : nullptr;
                const T* const h_before = hidden_before(i, t);
                const T* const c_before =
                    Cell::kState ? before_step(op.kept, block, i, t, layer.reverse, c0, h_row) : nullptr;
                T *const d_gates = op.d_gates.row(step), *const before = op.before.row(step);
                T* const inner = Cell::kInfo.has_inner_bias ? op.inner.row(step) : nullptr;
                for_each_vector<T>(0, units, [&](int64_t j, int lanes) {
                    V gate[kGates], d[kGates], dq(0);
                    load_gates<kGates>(gates, units, j, lanes, gate);
                    d[0] = V(0);
                    V d_after = load_items(dh + i * h_row + j, 1, lanes);
                    if (d_out) d_after = d_after + load_items(d_out + j, 1, lanes);
                    const V number = Cell::kKeeps ? load_items(kept + j, 1, lanes) : V(0);
                    const V number_before = Cell::kState ? load_items(c_before + j, 1, lanes) : V(0);
                    const V d_number = Cell::kState ? load_items(dc + i * h_row + j, 1, lanes) : V(0);
                    const V hidden = load_items(h_before + j, 1, lanes);
                    const auto back = Cell::backward(gate, number, number_before, hidden, d_after, d_number, d, dq);
                    store_gates<kGates>(d, d_gates, units, j, lanes);
                    d[kGates - 1] = Cell::kInfo.has_inner_bias ? dq : d[kGates - 1];
                    store_gates<kGates>(d, s + i * s_row, units, j, lanes);
                    store_items(hidden, before + j, 1, lanes);
                    if (Cell::kInfo.has_inner_bias) store_items(dq, inner + j, 1, lanes);
                    store_items(back.h, dh + i * h_row + j, 1, lanes);
                    if constexpr (Cell::kState) store_items(back.kept, dc + i * h_row + j, 1, lanes);
                });
            }
            if constexpr (Cell::kResetsFirst) {
                last_product(active, s + kPlain * units, s_row, ds, h_row, false);
                for (int i = 0; i < active; ++i) {
                    const int64_t step = block.row(i, t, layer.reverse);
                    const T *const gates = op.gates.row(step), *const h_before = hidden_before(i, t);
                    T *const d_gates = op.d_gates.row(step), *const inner = op.inner.row(step);
                    for_each_vector<T>(0, units, [&](int64_t j, int lanes) {
                        const V r = load_items(gates + j, 1, lanes), hidden = load_items(h_before + j, 1, lanes);
                        const V through = load_items(ds + i * h_row + j, 1, lanes);
                        const V d_r = Cell::reset_backward(&r, hidden, through);
                        store_items(d_r, d_gates + j, 1, lanes), store_items(d_r, s + i * s_row + j, 1, lanes);
                        store_items(r * hidden, inner + j, 1, lanes);
                        T* const to = dh + i * h_row + j;
                        store_items(fma(through, r, load_items<T>(to, 1, lanes)), to, 1, lanes);
                    });
                }
            }
            product(active, s, s_row, dh, h_row, true);
        }
        put_states(block, dh, h_row, units, op.d_h0);
        if (Cell::kState) put_states(block, dc, h_row, units, op.d_c0);
    });
}

}  // namespace

template <class T>
void run(const ops::RecurrenceBackward<T>& op, Team& team) {
    if (!check_spans(op.layer.spans, number_of(op), team)) return;
    with_cell(op.layer.cell, [&](auto cell) { walk_back(op, cell, team); });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(RecurrenceBackward)
