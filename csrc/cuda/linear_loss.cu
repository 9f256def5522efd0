#include "cuda/device/labels.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;

struct PenaltyMemory {
    SharedArray<double, kThreads / kWarp> partial;
};

// loss += l2/2 |w|², by one block.
template <class T>
__global__ void __launch_bounds__(kThreads)
    add_penalty_kernel(Guard guard, MatrixView<const T> w, double l2, double* loss) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<PenaltyMemory>();
    double square = 0;
    for (int64_t e = threadIdx.x; e < w.rows * w.cols; e += kThreads) {
        const double item = static_cast<double>(w(e / w.cols, e % w.cols));
        square += item * item;
    }
    square = combine_block<kThreads>(square, memory.partial, Plus());
    if (threadIdx.x == 0) *loss += 0.5 * l2 * square;
}

}  // namespace

// The workspace holds the scores, and then their slopes: with few outputs they are small compared with x.
template <class T>
void launch(const ops::LinearLoss<T>& op, Stream& stream) {
    const int64_t n = op.x.rows, k = op.w.cols;
    const MatrixView<T> scores{reinterpret_cast<T*>(op.workspace.data), n, k, k, 1};
    const MatrixView<const T> read{scores.data, n, k, k, 1};
    // Without this check, the kernel of the loss would report a bad label under its own name.
    if (op.labels) check_labels(BatchRows<T>{{{}, op.labels, false, 0}, n, k, number_of(op)}, stream);
    launch(ops::Linear<T>{op.x, op.w, op.b, scores, {}}, stream);
    if (op.target)
        launch(ops::PointwiseLoss<T>{read, op.target, op.sample_weight, op.kind, op.parameter, op.factor,
                                     op.adds_outputs, op.loss, scores},
               stream);
    else
        launch(ops::SoftmaxCrossEntropy<T>{read, op.labels, {}, op.sample_weight, false, 0, op.loss, scores}, stream);
    if (op.d_w) launch(ops::LinearBackward<T>{read, op.x, op.w, {}, op.d_w, op.d_b, {}, op.l2}, stream);
    if (op.l2 != 0)
        launch_kernel(stream, add_penalty_kernel<T>, dim3(1), dim3(kThreads), sizeof(PenaltyMemory), stream.guard(),
                      op.w, op.l2, op.loss);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(LinearLoss)
