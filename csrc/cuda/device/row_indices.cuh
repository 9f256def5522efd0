// The check of a mini-batch's rows, before a kernel writes anything: by each of its blocks, or by a kernel before it.
#pragma once

#include "common/row_indices.h"
#include "cuda/device/guard.cuh"
#include "cuda/device/last_block.cuh"
#include "cuda/scan.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kBadStart = -1;

struct RowCheckMemory {
    SharedArray<int64_t, kScanThreads / kWarp> row;
    SharedArray<int, 1> last;
};

__device__ inline void report_row(const Guard& guard, const RowIndices& rows, int64_t bad) {
    report_failure(guard, bad == kBadStart ? rows.failure_of_start() : rows.failure_of(bad));
}

// The first of the rows first, first + step, ... whose index is beyond the limit, or the number of rows. kBadStart
// takes precedence.
__device__ inline int64_t first_bad(const RowIndices& rows, int64_t first, int64_t step) {
    if (!rows.starts_within()) return kBadStart;
    for (int64_t i = first; i < rows.count; i += step)
        if (rows.is_bad(i)) return i;
    return rows.count;
}

__global__ void __launch_bounds__(kScanThreads)
    check_rows_kernel(Guard guard, RowIndices rows, int64_t* found, unsigned* ticket) {
    if (is_stopped(guard)) return;  // only the last block reports, after all blocks have passed this line
    auto& memory = shared_memory<RowCheckMemory>();
    const int64_t first = int64_t{blockIdx.x} * kScanThreads + threadIdx.x;
    const int64_t bad =
        combine_block<kScanThreads>(first_bad(rows, first, int64_t{gridDim.x} * kScanThreads), memory.row, Smaller());
    if (threadIdx.x == 0) found[blockIdx.x] = bad;
    if (!is_last_block(ticket, gridDim.x, memory.last) || threadIdx.x != 0) return;
    int64_t lowest = rows.count;
    for (unsigned b = 0; b < gridDim.x; ++b) lowest = Smaller()(lowest, found[b]);
    if (lowest < rows.count) report_row(guard, rows, lowest);
}

// Whether a block of kScanThreads threads may write: no earlier kernel has failed, and all rows are valid, which the
// block checks unless `checked`. Blocks of one grid agree.
__device__ inline bool rows_are_valid(const Guard& guard, const RowIndices& rows, bool checked,
                                      SharedArray<int64_t, kScanThreads / kWarp>& memory) {
    const bool stopped = is_stopped(guard);
    const int64_t bad = checked ? rows.count : first_bad(rows, threadIdx.x, kScanThreads);
    // The grid itself may report a failure: its blocks may see `stopped` change, but all of them stop.
    if (!__syncthreads_or(stopped || bad < rows.count)) return true;
    const int64_t lowest = combine_block<kScanThreads>(bad, memory, Smaller());
    if (threadIdx.x == 0 && lowest < rows.count) report_row(guard, rows, lowest);
    return false;
}

// Checks the rows by a kernel of their own.
inline void check_rows(const RowIndices& rows, Stream& stream) {
    auto* const found = static_cast<int64_t*>(stream.state.workspace(kMaxScanBlocks * sizeof(int64_t)));
    launch_kernel(stream, check_rows_kernel, scan_grid(rows.count), dim3(kScanThreads), sizeof(RowCheckMemory),
                  stream.guard(), rows, found, stream.state.tickets());
}

// The same if there are many. Returns whether it does; if not, each of the `blocks` blocks must.
inline bool check_rows_before(const RowIndices& rows, int64_t blocks, Stream& stream) {
    if (every_block_looks(rows.count, blocks)) return false;
    check_rows(rows, stream);
    return true;
}

}  // namespace
}  // namespace STEEPEST_TARGET
}  // namespace steepest
