#include "cpu/recurrent_steps.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// s = changed w + values dw, where absent directions of the weights are zeros.
template <class T>
struct MovedProduct {
    StateProduct<T> product, of_direction;
    bool weight_moves;

    void operator()(int rows, const T* changed, const T* values, int64_t a_row, T* s, int64_t s_row) const {
        product(rows, changed, a_row, s, s_row, false);
        if (weight_moves) of_direction(rows, values, a_row, s, s_row, true);
    }
};

template <class T, class Cell>
void walk_tangent(const ops::RecurrenceTangent<T>& op, Cell, Team& team) {
    using V = Vec<T>;
    constexpr int kGates = Cell::kGates, kPlain = Cell::kResetsFirst ? kGates - 1 : kGates;
    const auto& layer = op.layer;
    const Spans& spans = layer.spans;
    const int64_t units = layer.units(), h_row = spread(units), s_row = spread(kGates * units);
    const auto plain = [&](const MatrixView<const T>& w) { return w.block(0, 0, units, kPlain * units); };
    const auto last = [&](const MatrixView<const T>& w) {
        return w.block(0, kPlain * units, units, (kGates - kPlain) * units);
    };
    const MatrixView<const T> direction = op.moved_weight ? op.moved_weight : layer.weight.block(0, 0, 0, 0);
    const int64_t items = StateProduct<T>::items(plain(layer.weight)) + StateProduct<T>::items(last(layer.weight));

    Pieces pieces(team.scratch(SequencesOfThread::bytes(spans) + 2 * Pieces::bytes<T>(items) +
                               7 * Pieces::bytes<T>(kBlockSequences * h_row) +
                               Pieces::bytes<T>(kBlockSequences * s_row) + Pieces::bytes<T>(units)));
    const SequencesOfThread mine(spans, pieces, team);
    if (mine.count() == 0) return;
    T *const packed = pieces.take<T>(items), *const packed_direction = pieces.take<T>(items);
    const auto states = [&] { return pieces.take<T>(kBlockSequences * h_row); };
    T *const h0 = states(), *const c0 = states(), *const h = states(), *const reset = states();
    T *const moved_h = states(), *const moved_c = states(), *const moved_reset = states();
    T* const s = pieces.take<T>(kBlockSequences * s_row);
    const T* const moved_bias = contiguous_items(op.moved_bias, units, T(0), pieces.take<T>(units));
    const bool weight_moves = static_cast<bool>(op.moved_weight);
    const auto product_of = [&](const auto& part, int64_t offset) {
        const auto w = part(layer.weight);
        return MovedProduct<T>{
            StateProduct<T>(w, spans.count, packed + offset),
            StateProduct<T>(weight_moves ? part(direction) : direction, spans.count, packed_direction + offset),
            weight_moves};
    };
    const MovedProduct<T> product = product_of(plain, 0);
    const MovedProduct<T> last_product = product_of(last, StateProduct<T>::items(plain(layer.weight)));

    for_each_sequence_block(spans, mine, [&](const SequenceBlock& block) {
        get_states(block, layer.h0, units, h0, h_row), get_states(block, op.moved_h0, units, moved_h, h_row);
        if (Cell::kState)
            get_states(block, layer.c0, units, c0, h_row), get_states(block, op.moved_c0, units, moved_c, h_row);
        int active = block.count;
        for (int64_t t = 0; t < block.steps(); ++t) {
            team.checkpoint();
            active = block.active(t, active);
            for (int i = 0; i < active; ++i) {
                const T* const before = before_step(op.out, block, i, t, layer.reverse, h0, h_row);
                for (int64_t j = 0; j < units; ++j) h[i * h_row + j] = before[j];
            }
            product(active, moved_h, h, h_row, s, s_row);
            if constexpr (Cell::kResetsFirst) {
                for (int i = 0; i < active; ++i) {
                    const int64_t step = block.row(i, t, layer.reverse);
                    const T *const gates = op.gates.row(step), *const moved = op.moved ? op.moved.row(step) : nullptr;
                    for_each_vector<T>(0, units, [&](int64_t j, int lanes) {
                        V gate[kGates], a[kGates], sum[kPlain];
                        load_gates<kGates>(gates, units, j, lanes, gate), load_gates<kGates>(moved, units, j, lanes, a);
                        load_gates<kPlain>(s + i * s_row, units, j, lanes, sum);
                        const V hidden = load_items(h + i * h_row + j, 1, lanes);
                        const V change = load_items(moved_h + i * h_row + j, 1, lanes);
                        store_items(Cell::reset_tangent(gate, hidden, a, sum, change), moved_reset + i * h_row + j, 1,
                                    lanes);
                        store_items(gate[0] * hidden, reset + i * h_row + j, 1, lanes);
                    });
                }
                last_product(active, moved_reset, reset, h_row, s + kPlain * units, s_row);
            }
            for (int i = 0; i < active; ++i) {
                const int64_t step = block.row(i, t, layer.reverse);
                const T *const gates = op.gates.row(step), *const moved = op.moved ? op.moved.row(step) : nullptr;
                const T* const kept = op.kept ? op.kept.row(step) : nullptr;
                const T* const c_before =
                    Cell::kState ? before_step(op.kept, block, i, t, layer.reverse, c0, h_row) : nullptr;
                T* const out = op.moved_out.row(step);
                for_each_vector<T>(0, units, [&](int64_t j, int lanes) {
                    V gate[kGates], a[kGates], sum[kGates], moved_number(0);
                    load_gates<kGates>(gates, units, j, lanes, gate), load_gates<kGates>(moved, units, j, lanes, a);
                    load_gates<kGates>(s + i * s_row, units, j, lanes, sum);
                    if (Cell::kInfo.has_inner_bias)
                        sum[kGates - 1] = sum[kGates - 1] + load_items(moved_bias + j, 1, lanes);
                    const V number = Cell::kKeeps ? load_items(kept + j, 1, lanes) : V(0);
                    const V number_before = Cell::kState ? load_items(c_before + j, 1, lanes) : V(0);
                    const V moved_before = Cell::kState ? load_items(moved_c + i * h_row + j, 1, lanes) : V(0);
                    const V change =
                        Cell::tangent(gate, number, number_before, load_items(h + i * h_row + j, 1, lanes), a, sum,
                                      load_items(moved_h + i * h_row + j, 1, lanes), moved_before, moved_number);
                    store_items(change, out + j, 1, lanes), store_items(change, moved_h + i * h_row + j, 1, lanes);
                    if constexpr (Cell::kState) store_items(moved_number, moved_c + i * h_row + j, 1, lanes);
                });
            }
        }
        put_states(block, moved_h, h_row, units, op.moved_h_last);
        if (Cell::kState) put_states(block, moved_c, h_row, units, op.moved_c_last);
    });
}

}  // namespace

template <class T>
void run(const ops::RecurrenceTangent<T>& op, Team& team) {
    if (!check_spans(op.layer.spans, number_of(op), team)) return;
    with_cell(op.layer.cell, [&](auto cell) { walk_tangent(op, cell, team); });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(RecurrenceTangent)
