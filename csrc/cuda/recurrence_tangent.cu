#include "cuda/device/recurrent_steps.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// Matrices of (sequences, units) in the workspace; the last two for cells that reset first.
template <class T>
struct TangentStates {
    MatrixView<T> moved_c, reset, moved_reset;
};

template <class T, class Cell>
__global__ void __launch_bounds__(kStepThreads)
    walk_tangent_kernel(Guard guard, ops::RecurrenceTangent<T> op, TangentStates<T> states) {
    if (is_stopped(guard)) return;
    using V = Lane<T>;
    constexpr int kGates = Cell::kGates, kPlain = Cell::kResetsFirst ? kGates - 1 : kGates;
    const auto& layer = op.layer;
    const int64_t units = layer.units();
    const BlockSequences<T> block(layer.spans);
    const auto hidden = [&](int i, int64_t t, int64_t k) {
        return before_step(op.out, layer.h0, block, i, t, layer.reverse, k);
    };
    const auto moved_hidden = [&](int i, int64_t t, int64_t k) {
        return before_step(op.moved_out, op.moved_h0, block, i, t, layer.reverse, k);
    };
    for (int64_t t = 0; t < block.steps; ++t) {
        for_each_unit(units, [&](int64_t j) {
            T sum[kBlockSequences][kGates];
            clear(sum);
            add_products(sum, 0, kPlain, layer.weight, units, j, block, t,
                         [&](int i, int64_t k) { return moved_hidden(i, t, k); });
            if (op.moved_weight)
                add_products(sum, 0, kPlain, op.moved_weight, units, j, block, t,
                             [&](int i, int64_t k) { return hidden(i, t, k); });
#pragma unroll
            for (int i = 0; i < kBlockSequences; ++i) {
                if (j >= units || !block.active(i, t)) continue;
                const int64_t row = block.row(i, t, layer.reverse), sequence = block.begin + i;
                V gate[kGates], a[kGates], s[kGates], moved_number(T(0));
                load_gates<kGates>(op.gates, row, units, j, gate), load_gates<kGates>(op.moved, row, units, j, a);
#pragma unroll
                for (int g = 0; g < kGates; ++g) s[g] = V(sum[i][g]);
                const V before(hidden(i, t, j)), moved_before(moved_hidden(i, t, j));
                if constexpr (Cell::kResetsFirst) {
                    states.moved_reset(sequence, j) = Cell::reset_tangent(gate, before, a, s, moved_before).value;
                    states.reset(sequence, j) = (gate[0] * before).value;
                    // The change of z's sum waits where the hidden state's will be.
                    op.moved_out(row, j) = s[1].value;
                } else {
                    if (op.moved_bias) s[kGates - 1] = s[kGates - 1] + V(op.moved_bias[j]);
                    const V number(Cell::kKeeps ? op.kept(row, j) : T(0));
                    const V number_before(Cell::kState ? before_step(op.kept, layer.c0, block, i, t, layer.reverse, j)
                                                       : T(0));
                    const V moved_number_before(!Cell::kState ? T(0)
                                                : t > 0       ? states.moved_c(sequence, j)
                                                : op.moved_c0 ? op.moved_c0(sequence, j)
                                                              : T(0));
                    op.moved_out(row, j) = Cell::tangent(gate, number, number_before, before, a, s, moved_before,
                                                         moved_number_before, moved_number)
                                               .value;
                    if constexpr (Cell::kState) states.moved_c(sequence, j) = moved_number.value;
                }
            }
        });
        if constexpr (Cell::kResetsFirst) {
            for_each_unit(units, [&](int64_t j) {
                T sum[kBlockSequences][kGates];
                clear(sum);
                add_products(sum, kPlain, kGates, layer.weight, units, j, block, t,
                             [&](int i, int64_t k) { return states.moved_reset(block.begin + i, k); });
                if (op.moved_weight)
                    add_products(sum, kPlain, kGates, op.moved_weight, units, j, block, t,
                                 [&](int i, int64_t k) { return states.reset(block.begin + i, k); });
#pragma unroll
                for (int i = 0; i < kBlockSequences; ++i) {
                    if (j >= units || !block.active(i, t)) continue;
                    const int64_t row = block.row(i, t, layer.reverse);
                    V gate[kGates], a[kGates], none(T(0));
                    load_gates<kGates>(op.gates, row, units, j, gate), load_gates<kGates>(op.moved, row, units, j, a);
                    const V s[kGates] = {none, V(op.moved_out(row, j)), V(sum[i][2])};
                    op.moved_out(row, j) =
                        Cell::tangent(gate, none, none, V(hidden(i, t, j)), a, s, V(moved_hidden(i, t, j)), none, none)
                            .value;
                }
            });
        }
    }
    if (!op.moved_h_last && !op.moved_c_last) return;
    __syncthreads();  // the last states are written
    for_each_unit(units, [&](int64_t j) {
        for (int i = 0; j < units && i < block.count; ++i) {
            const int64_t sequence = block.begin + i;
            if (op.moved_h_last) op.moved_h_last(sequence, j) = moved_hidden(i, block.length(i), j);
            if (op.moved_c_last)
                op.moved_c_last(sequence, j) = block.length(i) > 0 ? states.moved_c(sequence, j)
                                               : op.moved_c0       ? op.moved_c0(sequence, j)
                                                                   : T(0);
        }
    });
}

}  // namespace

template <class T>
void launch(const ops::RecurrenceTangent<T>& op, Stream& stream) {
    const auto& layer = op.layer;
    check_spans(layer.spans, number_of(op), stream);
    if (layer.units() == 0) return;
    with_cell(layer.cell, [&](auto cell) {
        using Cell = decltype(cell);
        const int64_t sequences = layer.spans.count, states = sequences * layer.units();
        auto* workspace =
            static_cast<T*>(stream.state.workspace((Cell::kState + 2 * Cell::kResetsFirst) * states * sizeof(T)));
        const auto take = [&](bool needed) {
            return needed ? take_matrix(workspace, sequences, layer.units()) : MatrixView<T>();
        };
        TangentStates<T> kept;
        kept.moved_c = take(Cell::kState), kept.reset = take(Cell::kResetsFirst);
        kept.moved_reset = take(Cell::kResetsFirst);
        launch_kernel(stream, walk_tangent_kernel<T, Cell>, step_grid(layer.spans), step_block(layer.units()),
                      sizeof(StepMemory<T>), stream.guard(), op, kept);
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(RecurrenceTangent)
