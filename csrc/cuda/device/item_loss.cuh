// Losses that are a sum over items: groups of threads take rows in turn, and the last block adds the results of all
// blocks.
#pragma once

#include "common/item_loss.h"
#include "cuda/device/labels.cuh"
#include "cuda/device/lane.cuh"
#include "cuda/device/rows.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int kItemLossThreads = 256;
constexpr int kItemLossBlocks = 3;  // blocks at once on a multiprocessor, which limits the registers of a thread

struct ItemLossMemory {
    BatchMemory<kItemLossThreads> batch;
    GridSumMemory<kItemLossThreads> loss;
};

template <class T, int Lanes, int In, int Out, class F>
__global__ void __launch_bounds__(kItemLossThreads, kItemLossBlocks)
    item_loss_kernel(Guard guard, ItemLoss<T, In, Out> op, F f, BatchRows<T> rows, bool in_vectors, double* partial,
                     unsigned* ticket) {
    constexpr int kVectors = Lanes < kWarp ? 1 : 2;
    using Chunk = RowChunk<T, Lanes, kVectors>;
    constexpr int kRows = kItemLossThreads / Lanes;
    auto& memory = shared_memory<ItemLossMemory>();
    double total;
    if (!begin_rows<kItemLossThreads>(guard, is_stopped(guard), rows, total, memory.batch)) return;
    const double scale = op.scale(total);
    Chunk x[In];
#pragma unroll
    for (int k = 0; k < In; ++k) x[k].in_vectors = in_vectors;
    double loss = 0;
    const int64_t step = int64_t{gridDim.x} * kRows;
    for (int64_t i = int64_t{blockIdx.x} * kRows + threadIdx.x / Lanes; i < rows.size; i += step) {
        const double weight = rows.weight_of(i, 0);
        const T slope = static_cast<T>(scale * weight);
        double row_sum = 0;
        for (int64_t start = 0; start < op.cols(); start += Chunk::kSpan) {
#pragma unroll
            for (int k = 0; k < In; ++k) x[k].load(row_of(op.in[k], i), start, T(0));
            x[0].for_each([&](int q) {
                Lane<T> in[In], d[Out];
#pragma unroll
                for (int k = 0; k < In; ++k) in[k] = Lane<T>(x[k].item[q]);
                const T value = f(in, d).value;
                if (x[0].position_of(q) < x[0].size) row_sum += static_cast<double>(value);
                // A row of weight 0 may hold NaN.
#pragma unroll
                for (int k = 0; k < Out; ++k) x[k].item[q] = weight != 0 ? slope * d[k].value : T(0);
            });
#pragma unroll
            for (int k = 0; k < Out; ++k) x[k].store(row_of(op.out[k], i), start);
        }
        if (weight != 0) loss += weight * row_sum;
    }
    if (sum_over_grid<kItemLossThreads>(loss, partial, ticket, memory.loss) && threadIdx.x == 0)
        *op.loss = scale * loss;
}

// Contiguous items are best divided into rows of 64 to 1024 items, a power of two that divides their number.
template <class T, int In, int Out>
void reshape_to_handy_rows(ItemLoss<T, In, Out>& op) {
    if (op.weight || !is_one_run(op)) return;
    const int64_t size = op.rows() * op.cols();
    int64_t cols = 1024;
    while (cols > 32 && size % cols != 0) cols /= 2;
    if (cols > 32 && (op.cols() < cols || op.cols() > 2048)) reshape_run(op, cols);
}

template <class T, int In, int Out, class F>
void launch_item_loss(ItemLoss<T, In, Out> op, OperationNumber operation, const Stream& stream, const F& f) {
    reshape_to_handy_rows(op);
    BatchRows<T> rows{{op.weight, {}, false, 0}, op.rows(), 0, operation};
    bool in_vectors = true;
    for (const auto& m : op.in) in_vectors = in_vectors && has_vector_rows(m);
    for (const auto& m : op.out) in_vectors = in_vectors && has_vector_rows(m);
    with_lanes<kItemLossThreads>(op.cols(), [&](auto lanes) {
        constexpr int kLanes = decltype(lanes)::value;
        const unsigned blocks = row_blocks(rows.size, kItemLossThreads / kLanes);
        const LossWorkspace workspace(rows, blocks, stream);
        launch_kernel(stream, item_loss_kernel<T, kLanes, In, Out, F>, dim3(blocks), dim3(kItemLossThreads),
                      sizeof(ItemLossMemory), stream.guard(), op, f, rows, in_vectors, workspace.partial,
                      stream.state.tickets());
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
