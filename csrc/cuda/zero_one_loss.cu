#include "cuda/device/first_largest.cuh"
#include "cuda/device/labels.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 4;  // blocks at once on a multiprocessor, which limits the registers of a thread

template <class T, int Lanes>
struct ZeroOneMemory {
    LargestMemory<T, Lanes> largest;
    BatchMemory<kThreads> batch;
    GridSumMemory<kThreads> loss;
};

template <class T, int Lanes>
__global__ void __launch_bounds__(kThreads, kBlocks)
    zero_one_loss_kernel(Guard guard, ops::ZeroOneLoss<T> op, BatchRows<T> rows, bool in_vectors, double* partial,
                         unsigned* ticket) {
    constexpr int kRows = kThreads / Lanes;
    auto& memory = shared_memory<ZeroOneMemory<T, Lanes>>();
    double total;
    if (!begin_rows<kThreads>(guard, is_stopped(guard), rows, total, memory.batch)) return;
    double errors = 0;
    // A group past the last row still runs the loop: its lanes share a warp with other groups.
    for (int64_t i0 = int64_t{blockIdx.x} * kRows; i0 < rows.size; i0 += int64_t{gridDim.x} * kRows) {
        const int64_t i = i0 + threadIdx.x / Lanes;
        const int64_t best = first_largest<Lanes>(row_of(op.scores, i), in_vectors, memory.largest);
        if (i >= rows.size || threadIdx.x % Lanes != 0) continue;
        const int64_t label = rows.label_of(i);
        if (best != label) errors += rows.weight_of(i, label);
    }
    if (sum_over_grid<kThreads>(errors, partial, ticket, memory.loss) && threadIdx.x == 0)
        *op.out = total != 0 ? errors / total : 0;
}

}  // namespace

template <class T>
void launch(const ops::ZeroOneLoss<T>& op, Stream& stream) {
    BatchRows<T> rows{
        {{}, op.labels, op.has_ignore_label, op.ignore_label}, op.scores.rows, op.scores.cols, number_of(op)};
    with_lanes<kThreads>(op.scores.cols, [&](auto lanes) {
        constexpr int kLanes = decltype(lanes)::value;
        const unsigned blocks = row_blocks(rows.size, kThreads / kLanes);
        const LossWorkspace workspace(rows, blocks, stream);
        launch_kernel(stream, zero_one_loss_kernel<T, kLanes>, dim3(blocks), dim3(kThreads),
                      sizeof(ZeroOneMemory<T, kLanes>), stream.guard(), op, rows, has_vector_rows(op.scores),
                      workspace.partial, stream.state.tickets());
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(ZeroOneLoss)
