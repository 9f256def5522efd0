#include "cpu/recurrent_steps.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T, class Cell>
void walk(const ops::Recurrence<T>& op, Cell, Team& team) {
    using V = Vec<T>;
    constexpr int kGates = Cell::kGates, kPlain = Cell::kResetsFirst ? kGates - 1 : kGates;
    const auto& layer = op.layer;
    const Spans& spans = layer.spans;
    const int64_t units = layer.units(), h_row = spread(units), s_row = spread(kGates * units);
    // The gates that take the hidden state itself, and the one that takes it after a reset.
    const auto plain = layer.weight.block(0, 0, units, kPlain * units);
    const auto last = layer.weight.block(0, kPlain * units, units, (kGates - kPlain) * units);

    Pieces pieces(team.scratch(SequencesOfThread::bytes(spans) +
                               Pieces::bytes<T>(StateProduct<T>::items(plain) + StateProduct<T>::items(last)) +
                               3 * Pieces::bytes<T>(kBlockSequences * h_row) +
                               Pieces::bytes<T>(kBlockSequences * s_row) + Pieces::bytes<T>(units)));
    const SequencesOfThread mine(spans, pieces, team);
    if (mine.count() == 0) return;
    T* const packed = pieces.take<T>(StateProduct<T>::items(plain) + StateProduct<T>::items(last));
    T *const h = pieces.take<T>(kBlockSequences * h_row), *const c = pieces.take<T>(kBlockSequences * h_row);
    T *const reset = pieces.take<T>(kBlockSequences * h_row), *const s = pieces.take<T>(kBlockSequences * s_row);
    const T* const bias = contiguous_items(layer.bias, units, T(0), pieces.take<T>(units));
    const StateProduct<T> product(plain, spans.count, packed);
    const StateProduct<T> last_product(last, spans.count, packed + StateProduct<T>::items(plain));

    for_each_sequence_block(spans, mine, [&](const SequenceBlock& block) {
        get_states(block, layer.h0, units, h, h_row);
        if (Cell::kState) get_states(block, layer.c0, units, c, h_row);
        int active = block.count;
        for (int64_t t = 0; t < block.steps(); ++t) {
            team.checkpoint();
            active = block.active(t, active);
            product(active, h, h_row, s, s_row, false);
            if constexpr (Cell::kResetsFirst) {
                for (int i = 0; i < active; ++i) {
                    T* const row = op.gates.row(block.row(i, t, layer.reverse));
                    for_each_vector<T>(0, units, [&](int64_t j, int lanes) {
                        V a[kPlain], sum[kPlain], gate[kPlain];
                        load_gates<kPlain>(row, units, j, lanes, a);
                        load_gates<kPlain>(s + i * s_row, units, j, lanes, sum);
                        store_items(Cell::reset(a, sum, load_items(h + i * h_row + j, 1, lanes), gate),
                                    reset + i * h_row + j, 1, lanes);
                        store_gates<kPlain>(gate, row, units, j, lanes);
                    });
                }
                last_product(active, reset, h_row, s + kPlain * units, s_row, false);
            }
            for (int i = 0; i < active; ++i) {
                const int64_t step = block.row(i, t, layer.reverse);
                T *const row = op.gates.row(step), *const out = op.out.row(step);
                T* const kept = op.kept ? op.kept.row(step) : nullptr;
                for_each_vector<T>(0, units, [&](int64_t j, int lanes) {
                    V a[kGates], sum[kGates], gate[kGates], number;
                    load_gates<kGates>(row, units, j, lanes, a);
                    load_gates<kGates>(s + i * s_row, units, j, lanes, sum);
                    for (int g = 0; g < kPlain && Cell::kResetsFirst; ++g) gate[g] = a[g];
                    if (Cell::kInfo.has_inner_bias) sum[kGates - 1] = sum[kGates - 1] + load_items(bias + j, 1, lanes);
                    const V before = load_items(h + i * h_row + j, 1, lanes);
                    const V c_before = Cell::kState ? load_items(c + i * h_row + j, 1, lanes) : V(0);
                    const V after = Cell::forward(a, sum, before, c_before, gate, number);
                    store_gates<kGates>(gate, row, units, j, lanes);
                    store_items(after, out + j, 1, lanes), store_items(after, h + i * h_row + j, 1, lanes);
                    if constexpr (Cell::kState) store_items(number, c + i * h_row + j, 1, lanes);
                    if constexpr (Cell::kKeeps)
                        if (kept) store_items(number, kept + j, 1, lanes);
                });
            }
        }
        put_states(block, h, h_row, units, op.h_last);
        if (Cell::kState) put_states(block, c, h_row, units, op.c_last);
    });
}

}  // namespace

template <class T>
void run(const ops::Recurrence<T>& op, Team& team) {
    if (!check_spans(op.layer.spans, number_of(op), team)) return;
    with_cell(op.layer.cell, [&](auto cell) { walk(op, cell, team); });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Recurrence)
