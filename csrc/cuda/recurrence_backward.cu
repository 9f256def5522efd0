#include "cuda/device/recurrent_steps.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// Writes the transpose of a matrix, so that neighbouring threads read neighbouring items of it.
template <class T>
__global__ void __launch_bounds__(kStepThreads)
    transpose_kernel(Guard guard, MatrixView<const T> from, MatrixView<T> to) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kStepThreads + threadIdx.x;
    if (e < to.rows * to.cols) to(e / to.cols, e % to.cols) = from(e % to.cols, e / to.cols);
}

// `turned` are the transposed weights. dh and dc are the gradients of the states before a step, (sequences, units).
template <class T, class Cell>
__global__ void __launch_bounds__(kStepThreads)
    walk_back_kernel(Guard guard, ops::RecurrenceBackward<T> op, MatrixView<const T> turned, MatrixView<T> dh,
                     MatrixView<T> dc) {
    if (is_stopped(guard)) return;
    using V = Lane<T>;
    constexpr int kGates = Cell::kGates, kPlain = Cell::kResetsFirst ? kGates - 1 : kGates;
    constexpr bool kInnerBias = Cell::kInfo.has_inner_bias;
    const auto& layer = op.layer;
    const int64_t units = layer.units();
    const BlockSequences<T> block(layer.spans);
    for_each_unit(units, [&](int64_t j) {
        for (int i = 0; j < units && i < block.count; ++i) {
            const int64_t sequence = block.begin + i;
            dh(sequence, j) = op.d_h_last ? op.d_h_last(sequence, j) : T(0);
            if (Cell::kState) dc(sequence, j) = op.d_c_last ? op.d_c_last(sequence, j) : T(0);
        }
    });
    for (int64_t t = block.steps - 1; t >= 0; --t) {
        for_each_unit(units, [&](int64_t j) {
#pragma unroll
            for (int i = 0; i < kBlockSequences; ++i) {
                if (j >= units || !block.active(i, t)) continue;
                const int64_t row = block.row(i, t, layer.reverse), sequence = block.begin + i;
                V gate[kGates], d[kGates], dq(T(0));
                load_gates<kGates>(op.gates, row, units, j, gate);
                d[0] = V(T(0));
                const V d_after(dh(sequence, j) + (op.d_out ? op.d_out(row, j) : T(0)));
                const V number(Cell::kKeeps ? op.kept(row, j) : T(0));
                const V number_before(Cell::kState ? before_step(op.kept, layer.c0, block, i, t, layer.reverse, j)
                                                   : T(0));
                const V d_number(Cell::kState ? dc(sequence, j) : T(0));
                const V hidden(before_step(op.out, layer.h0, block, i, t, layer.reverse, j));
                const auto back = Cell::backward(gate, number, number_before, hidden, d_after, d_number, d, dq);
                store_gates<kGates>(d, op.d_gates, row, units, j);
                op.before(row, j) = hidden.value;
                if (kInnerBias) op.inner(row, j) = dq.value;
                dh(sequence, j) = back.h.value;
                if (Cell::kState) dc(sequence, j) = back.kept.value;
            }
        });
        // Products with the transposed weights: their inner dimension runs over gates and units, its operands are in
        // the rows of the step.
        const auto product = [&](int first, int end, auto&& operand, auto&& finish) {
            const MatrixView<const T> w = turned.block(first * units, 0, (end - first) * units, units);
            for_each_unit(units, [&](int64_t j) {
                T sum[kBlockSequences][1];
                clear(sum);
                add_products(sum, 0, 1, w, units, j, block, t, [&](int i, int64_t k) {
                    return operand(block.row(i, t, layer.reverse), first * units + k);
                });
#pragma unroll
                for (int i = 0; i < kBlockSequences; ++i)
                    if (j < units && block.active(i, t)) finish(i, block.row(i, t, layer.reverse), j, sum[i][0]);
            });
        };
        if constexpr (Cell::kResetsFirst)
            product(
                kPlain, kGates, [&](int64_t row, int64_t k) { return op.d_gates(row, k); },
                [&](int i, int64_t row, int64_t j, T through) {
                    const V r(op.gates(row, j));
                    const V hidden(before_step(op.out, layer.h0, block, i, t, layer.reverse, j));
                    op.d_gates(row, j) = Cell::reset_backward(&r, hidden, V(through)).value;
                    op.inner(row, j) = (r * hidden).value;
                    dh(block.begin + i, j) = std::fma(through, r.value, dh(block.begin + i, j));
                });
        product(
            0, kPlain,
            [&](int64_t row, int64_t k) {
                const int64_t inner = (kGates - 1) * units;
                return kInnerBias && k >= inner ? op.inner(row, k - inner) : op.d_gates(row, k);
            },
            [&](int i, int64_t, int64_t j, T sum) { dh(block.begin + i, j) += sum; });
    }
    for_each_unit(units, [&](int64_t j) {
        for (int i = 0; j < units && i < block.count; ++i) {
            const int64_t sequence = block.begin + i;
            if (op.d_h0) op.d_h0(sequence, j) = dh(sequence, j);
            if (op.d_c0) op.d_c0(sequence, j) = dc(sequence, j);
        }
    });
}

}  // namespace

template <class T>
void launch(const ops::RecurrenceBackward<T>& op, Stream& stream) {
    const auto& layer = op.layer;
    check_spans(layer.spans, number_of(op), stream);
    if (layer.units() == 0) return;
    with_cell(layer.cell, [&](auto cell) {
        using Cell = decltype(cell);
        const int64_t units = layer.units(), sequences = layer.spans.count, columns = layer.gate_columns();
        const int64_t items = units * columns + (Cell::kState ? 2 : 1) * sequences * units;
        auto* workspace = static_cast<T*>(stream.state.workspace(items * sizeof(T)));
        const MatrixView<T> turned = take_matrix(workspace, columns, units),
                            dh = take_matrix(workspace, sequences, units);
        const MatrixView<T> dc = Cell::kState ? take_matrix(workspace, sequences, units) : MatrixView<T>();
        launch_kernel(stream, transpose_kernel<T>,
                      dim3(static_cast<unsigned>(blocks_for(units * columns, kStepThreads))), dim3(kStepThreads), 0,
                      stream.guard(), layer.weight, turned);
        launch_kernel(stream, walk_back_kernel<T, Cell>, step_grid(layer.spans), step_block(units),
                      sizeof(StepMemory<T>), stream.guard(), op,
                      MatrixView<const T>{turned.data, columns, units, units, 1}, dh, dc);
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(RecurrenceBackward)
