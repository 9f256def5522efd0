// The rows of a mini-batch: their weights, and whether their labels are classes. Before it writes anything, a loss must
// know the sum of the weights, and that every label is valid. For small batches each block of the loss computes this
// itself, and reads all labels; for large ones a kernel before it does.
#pragma once

#include "common/row_weights.h"
#include "cuda/device/guard.cuh"
#include "cuda/device/last_block.cuh"
#include "cuda/scan.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
struct BatchRows : RowWeights<T> {
    int64_t size = 0;
    int64_t classes = 0;
    OperationNumber operation{};
    // The sum of the weights, if an earlier kernel has computed it and checked the labels.
    const double* total = nullptr;

    __device__ bool has_bad_label(int64_t label) const { return this->labels && this->is_bad(label, classes); }
    // Whether a scan of the rows is necessary.
    STEEPEST_HD bool has_labels_or_weights() const { return this->labels || this->weight; }
};

template <int Threads>
struct BatchMemory {
    SharedArray<double, Threads / kWarp> weight;
    SharedArray<int64_t, Threads / kWarp> row;
};

// Adds the weights of rows first, first + step, ..., and finds the first of these rows whose label is no class, or
// `size`.
template <class T>
__device__ void scan_rows(const BatchRows<T>& rows, int64_t first, int64_t step, double& weight, int64_t& bad) {
    for (int64_t i = first; i < rows.size; i += step) {
        const int64_t label = rows.label_of(i);
        if (i < bad && rows.has_bad_label(label)) bad = i;
        weight += rows.weight_of(i, label);
    }
}

template <class T>
__device__ void report_label(const Guard& guard, const BatchRows<T>& rows, int64_t row) {
    report_failure(guard, Failure{Failure::kLabel, rows.operation, rows.labels[row], row, rows.classes});
}

// Called by all threads of a block at the start of a kernel. Returns whether the kernel may go on, and sets `total` to
// the sum of the weights. The grid itself may report a failure, so blocks may see `stopped` change, but all of them
// stop.
template <int Threads, class T>
__device__ bool begin_rows(const Guard& guard, bool stopped, const BatchRows<T>& rows, double& total,
                           BatchMemory<Threads>& memory) {
    const bool scans = !rows.total && rows.has_labels_or_weights();
    int64_t bad = rows.size;
    double weight = 0;
    if (scans) scan_rows(rows, threadIdx.x, Threads, weight, bad);
    if (__syncthreads_or(stopped || bad < rows.size)) {
        bad = combine_block<Threads>(bad, memory.row, Smaller());
        if (threadIdx.x == 0 && bad < rows.size) report_label(guard, rows, bad);
        return false;
    }
    if (rows.total)
        total = *rows.total;
    else if (rows.weight || rows.has_ignore_label)
        total = combine_block<Threads>(weight, memory.weight, Plus());
    else
        total = static_cast<double>(rows.size);
    return true;
}

struct ScanMemory {
    BatchMemory<kScanThreads> batch;
    SharedArray<int, 1> last;
};

// The result of a block of scan_kernel.
struct ScanResult {
    double weight;
    int64_t bad;
};

template <class T>
__global__ void scan_kernel(Guard guard, BatchRows<T> rows, ScanResult* results, unsigned* ticket, double* total) {
    if (is_stopped(guard)) return;  // only the last block reports, after all blocks have passed this line
    auto& memory = shared_memory<ScanMemory>();
    const int64_t step = int64_t{gridDim.x} * kScanThreads;
    ScanResult mine{0, rows.size};
    scan_rows(rows, int64_t{blockIdx.x} * kScanThreads + threadIdx.x, step, mine.weight, mine.bad);
    mine.weight = combine_block<kScanThreads>(mine.weight, memory.batch.weight, Plus());
    mine.bad = combine_block<kScanThreads>(mine.bad, memory.batch.row, Smaller());
    if (threadIdx.x == 0) results[blockIdx.x] = mine;
    if (!is_last_block(ticket, gridDim.x, memory.last) || threadIdx.x != 0) return;
    mine = {0, rows.size};
    for (unsigned b = 0; b < gridDim.x; ++b) {
        mine.weight += results[b].weight;
        mine.bad = Smaller()(mine.bad, results[b].bad);
    }
    if (mine.bad < rows.size) return report_label(guard, rows, mine.bad);
    *total = mine.weight;
}

// Launches the kernel that checks the labels, for an operation whose own kernels do not.
template <class T>
void check_labels(const BatchRows<T>& rows, const Stream& stream) {
    auto* const results = static_cast<ScanResult*>(stream.state.workspace((kMaxScanBlocks + 1) * sizeof(ScanResult)));
    launch_kernel(stream, scan_kernel<T>, scan_grid(rows.size), dim3(kScanThreads), sizeof(ScanMemory), stream.guard(),
                  rows, results, stream.state.tickets(), &results[kMaxScanBlocks].weight);
}

// The workspace of a loss, in the memory of its stream.
struct LossWorkspace {
    double* partial;  // a number for each block of the loss

    // Launches the kernel that scans the rows, unless it is cheaper if each of the `blocks` of the loss does so.
    template <class T>
    LossWorkspace(BatchRows<T>& rows, unsigned blocks, const Stream& stream) {
        constexpr size_t kResults = kMaxScanBlocks * sizeof(ScanResult);
        char* const memory = static_cast<char*>(stream.state.workspace(kResults + (1 + blocks) * sizeof(double)));
        double* const total = reinterpret_cast<double*>(memory + kResults);
        partial = total + 1;
        if (!rows.has_labels_or_weights() || every_block_looks(rows.size, blocks)) return;
        launch_kernel(stream, scan_kernel<T>, scan_grid(rows.size), dim3(kScanThreads), sizeof(ScanMemory),
                      stream.guard(), rows, reinterpret_cast<ScanResult*>(memory), stream.state.tickets(), total);
        rows.total = total;
    }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
