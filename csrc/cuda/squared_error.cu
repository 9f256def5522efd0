#include "cuda/device/labels.cuh"
#include "cuda/device/rows.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 3;  // at once on a multiprocessor: that bounds the registers of a thread

struct SquaredErrorMemory {
    BatchMemory<kThreads> batch;
    GridSumMemory<kThreads> loss;
};

template <class T, int Lanes>
__global__ void __launch_bounds__(kThreads, kBlocks)
    squared_error_kernel(Guard guard, ops::SquaredError<T> op, BatchRows<T> rows, bool in_vectors, double* partial,
                         unsigned* ticket) {
    constexpr int kRows = kThreads / Lanes;
    auto& memory = shared_memory<SquaredErrorMemory>();
    double total;
    if (!begin_rows<kThreads>(guard, is_stopped(guard), rows, total, memory.batch)) return;
    const double columns = static_cast<double>(op.prediction.cols);
    const double scale = total != 0 ? (op.half ? 0.5 : 1.0) / (total * columns) : 0;
    RowChunk < T, Lanes, Lanes<kWarp ? 1 : 2> p(in_vectors), t(in_vectors);
    double loss = 0;
    const int64_t step = int64_t{gridDim.x} * kRows;
    for (int64_t i = int64_t{blockIdx.x} * kRows + threadIdx.x / Lanes; i < rows.size; i += step) {
        const double weight = rows.weight_of(i, 0);
        const T slope = static_cast<T>(2 * scale * weight);
        const auto prediction = row_of(op.prediction, i), target = row_of(op.target, i);
        const auto gradient = row_of(op.d_prediction, i);
        double row_sum = 0;
        for (int64_t start = 0; start < prediction.size; start += p.kSpan) {
            p.load(prediction, start, T(0));
            t.load(target, start, T(0));
            p.for_each([&](int q) {
                const T error = p.item[q] - t.item[q];
                row_sum += static_cast<double>(error * error);
                p.item[q] = weight != 0 ? slope * error : T(0);  // a row that does not count may hold anything
            });
            p.store(gradient, start);
        }
        if (weight != 0) loss += weight * row_sum;
    }
    if (sum_over_grid<kThreads>(loss, partial, ticket, memory.loss) && threadIdx.x == 0) *op.loss = scale * loss;
}

// Without weights rows mean nothing: items that lie side by side are shared out in rows of a better length.
template <class T>
ops::SquaredError<T> in_handy_rows(ops::SquaredError<T> op) {
    const auto lies_in_rows = [&](const auto& m) { return m.col_stride == 1 && m.row_stride == m.cols; };
    if (op.sample_weight || !lies_in_rows(op.prediction) || !lies_in_rows(op.target) || !lies_in_rows(op.d_prediction))
        return op;
    const int64_t size = op.prediction.rows * op.prediction.cols;
    int64_t cols = 1024;
    while (cols > 32 && size % cols != 0) cols /= 2;
    if (cols == 32 || (op.prediction.cols >= cols && op.prediction.cols <= 2048)) return op;
    const auto reshape = [&](auto& m) { m.rows = size / cols, m.cols = m.row_stride = cols; };
    reshape(op.prediction), reshape(op.target), reshape(op.d_prediction);
    return op;
}

}  // namespace

template <class T>
void launch(const ops::SquaredError<T>& given, Stream& stream) {
    const ops::SquaredError<T> op = in_handy_rows(given);
    BatchRows<T> rows{{op.sample_weight}, op.prediction.rows, 0, op.kName};
    const bool in_vectors =
        has_vector_rows(op.prediction) && has_vector_rows(op.target) && has_vector_rows(op.d_prediction);
    with_lanes<kThreads>(op.prediction.cols, [&](auto lanes) {
        constexpr int kLanes = decltype(lanes)::value;
        const unsigned blocks = row_blocks(rows.size, kThreads / kLanes);
        const LossWorkspace workspace(rows, blocks, stream);
        launch_kernel(stream, squared_error_kernel<T, kLanes>, dim3(blocks), dim3(kThreads), sizeof(SquaredErrorMemory),
                      stream.guard(), op, rows, in_vectors, workspace.partial, stream.state.tickets());
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SquaredError)
