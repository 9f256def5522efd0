#include "cuda/device/recurrent_steps.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// `c` are the cell states, and `reset` what a product takes in the place of the hidden states, both (sequences, units).
template <class T, class Cell>
__global__ void __launch_bounds__(kStepThreads)
    walk_kernel(Guard guard, ops::Recurrence<T> op, MatrixView<T> c, MatrixView<T> reset) {
    if (is_stopped(guard)) return;
    using V = Lane<T>;
    constexpr int kGates = Cell::kGates, kPlain = Cell::kResetsFirst ? kGates - 1 : kGates;
    const auto& layer = op.layer;
    const int64_t units = layer.units();
    const BlockSequences<T> block(layer.spans);
    const auto hidden = [&](int i, int64_t t, int64_t k) {
        return before_step(op.out, layer.h0, block, i, t, layer.reverse, k);
    };
    for (int64_t t = 0; t < block.steps; ++t) {
        for_each_unit(units, [&](int64_t j) {
            T sum[kBlockSequences][kGates];
            clear(sum);
            add_products(sum, 0, kPlain, layer.weight, units, j, block, t,
                         [&](int i, int64_t k) { return hidden(i, t, k); });
            if (j >= units) return;
#pragma unroll
            for (int i = 0; i < kBlockSequences; ++i) {
                if (!block.active(i, t)) continue;
                const int64_t row = block.row(i, t, layer.reverse);
                V a[kGates], s[kGates], gate[kGates];
                load_gates<kGates>(op.gates, row, units, j, a);
#pragma unroll
                for (int g = 0; g < kGates; ++g) s[g] = V(sum[i][g]);
                const V before(hidden(i, t, j));
                if constexpr (Cell::kResetsFirst) {
                    reset(block.begin + i, j) = Cell::reset(a, s, before, gate).value;
                    store_gates<kPlain>(gate, op.gates, row, units, j);
                } else {
                    if (layer.bias) s[kGates - 1] = s[kGates - 1] + V(layer.bias[j]);
                    V number;
                    T* const state = Cell::kState ? &c(block.begin + i, j) : nullptr;
                    const V c_before(!Cell::kState ? T(0)
                                     : t > 0       ? *state
                                     : layer.c0    ? layer.c0(block.begin + i, j)
                                                   : T(0));
                    op.out(row, j) = Cell::forward(a, s, before, c_before, gate, number).value;
                    store_gates<kGates>(gate, op.gates, row, units, j);
                    if constexpr (Cell::kState) *state = number.value;
                    if constexpr (Cell::kKeeps)
                        if (op.kept) op.kept(row, j) = number.value;
                }
            }
        });
        if constexpr (Cell::kResetsFirst) {
            for_each_unit(units, [&](int64_t j) {
                T sum[kBlockSequences][kGates];
                clear(sum);
                add_products(sum, kPlain, kGates, layer.weight, units, j, block, t,
                             [&](int i, int64_t k) { return reset(block.begin + i, k); });
                if (j >= units) return;
#pragma unroll
                for (int i = 0; i < kBlockSequences; ++i) {
                    if (!block.active(i, t)) continue;
                    const int64_t row = block.row(i, t, layer.reverse);
                    V a[kGates], s[kGates], gate[kGates], number;
                    load_gates<kGates>(op.gates, row, units, j, a);
                    gate[0] = a[0], gate[1] = a[1], s[0] = s[1] = V(0), s[2] = V(sum[i][2]);
                    op.out(row, j) = Cell::forward(a, s, V(hidden(i, t, j)), V(0), gate, number).value;
                    op.gates(row, kPlain * units + j) = gate[kPlain].value;
                }
            });
        }
    }
    if (!op.h_last && !op.c_last) return;
    __syncthreads();  // the last states are written
    for_each_unit(units, [&](int64_t j) {
        for (int i = 0; j < units && i < block.count; ++i) {
            const int64_t sequence = block.begin + i;
            if (op.h_last) op.h_last(sequence, j) = hidden(i, block.length(i), j);
            if (op.c_last)
                op.c_last(sequence, j) = block.length(i) > 0 ? c(sequence, j) : layer.c0 ? layer.c0(sequence, j) : T(0);
        }
    });
}

}  // namespace

template <class T>
void launch(const ops::Recurrence<T>& op, Stream& stream) {
    const auto& layer = op.layer;
    check_spans(layer.spans, number_of(op), stream);
    if (layer.units() == 0) return;
    with_cell(layer.cell, [&](auto cell) {
        using Cell = decltype(cell);
        const int64_t states = layer.spans.count * layer.units();
        auto* workspace =
            static_cast<T*>(stream.state.workspace((Cell::kState + Cell::kResetsFirst) * states * sizeof(T)));
        const auto take = [&](bool needed) {
            return needed ? take_matrix(workspace, layer.spans.count, layer.units()) : MatrixView<T>();
        };
        const MatrixView<T> c = take(Cell::kState), reset = take(Cell::kResetsFirst);
        launch_kernel(stream, walk_kernel<T, Cell>, step_grid(layer.spans), step_block(layer.units()),
                      sizeof(StepMemory<T>), stream.guard(), op, c, reset);
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Recurrence)
