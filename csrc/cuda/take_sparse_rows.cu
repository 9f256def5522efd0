#include "common/sparse_rows.h"
#include "cuda/device/guard.cuh"
#include "cuda/device/last_block.cuh"
#include "cuda/run.h"
#include "cuda/scan.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = kScanThreads;
constexpr int kRowsOfBlock = kThreads / kWarp;  // a warp copies a row

constexpr int64_t kBadStart = -1;

struct CheckMemory {
    SharedArray<int64_t, kThreads / kWarp> row;
    SharedArray<int, 1> last;
};

template <class T>
__device__ bool starts_within(const ops::TakeSparseRows<T>& op) {
    return op.start.get() >= 0 && op.start.get() <= op.rows.size - op.out.rows;
}

// The first bad row among those that this thread checks a part of, or n.
template <class Rows>
__device__ int64_t first_bad(const Rows& rows, int64_t n) {
    for (int64_t i = int64_t{blockIdx.x} * kRowsOfBlock + threadIdx.x / kWarp; i < n;
         i += int64_t{gridDim.x} * kRowsOfBlock) {
        if (rows.has_bad_number(i) || rows.has_bad_bounds(i)) return i;
        for (int64_t p = rows.begin(i) + threadIdx.x % kWarp; p < rows.end(i); p += kWarp)
            if (rows.is_bad_column(p)) return i;
    }
    return n;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    check_kernel(Guard guard, ops::TakeSparseRows<T> op, int64_t* found, unsigned* ticket) {
    if (is_stopped(guard)) return;  // only the last block reports, after all blocks have passed this line
    auto& memory = shared_memory<CheckMemory>();
    const int64_t start = op.start.get(), n = op.out.rows;
    int64_t bad = kBadStart;
    if (starts_within(op)) with_sparse_rows(op, start, [&](const auto& rows) { bad = first_bad(rows, n); });
    bad = combine_block<kThreads>(bad, memory.row, Smaller());
    if (threadIdx.x == 0) found[blockIdx.x] = bad;
    if (!is_last_block(ticket, gridDim.x, memory.last) || threadIdx.x != 0) return;
    for (unsigned b = 0; b < gridDim.x; ++b) bad = Smaller()(bad, found[b]);
    if (bad == kBadStart)
        report_failure(guard, start_failure(number_of(op), start, n, op.rows.size));
    else if (bad < n)
        with_sparse_rows(op, start, [&](const auto& rows) { report_failure(guard, rows.failure_of(bad)); });
}

// Every lane writes its own columns, so that the numbers of one column are added in their order.
template <class T>
__global__ void __launch_bounds__(kThreads) take_sparse_rows_kernel(Guard guard, ops::TakeSparseRows<T> op) {
    if (is_stopped(guard)) return;
    const int64_t i = int64_t{blockIdx.x} * kRowsOfBlock + threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    if (i >= op.out.rows) return;
    with_sparse_rows(op, op.start.get(), [&](const auto& rows) {
        for (int64_t j = lane; j < op.out.cols; j += kWarp) op.out(i, j) = T(0);
        for (int64_t p = rows.begin(i), end = rows.end(i); p < end; ++p) {
            const int64_t j = rows.indices[p];
            if (j % kWarp == lane) op.out(i, j) += rows.data[p];
        }
    });
}

}  // namespace

template <class T>
void launch(const ops::TakeSparseRows<T>& op, Stream& stream) {
    const auto blocks = static_cast<unsigned>(blocks_for(op.out.rows, kRowsOfBlock));
    const unsigned checking = blocks == 0 ? 1 : blocks < kMaxScanBlocks ? blocks : kMaxScanBlocks;
    auto* const found = static_cast<int64_t*>(stream.state.workspace(kMaxScanBlocks * sizeof(int64_t)));
    launch_kernel(stream, check_kernel<T>, dim3(checking), dim3(kThreads), sizeof(CheckMemory), stream.guard(), op,
                  found, stream.state.tickets());
    launch_kernel(stream, take_sparse_rows_kernel<T>, dim3(blocks), dim3(kThreads), 0, stream.guard(), op);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(TakeSparseRows)
