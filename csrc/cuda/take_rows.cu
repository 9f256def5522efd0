#include "cuda/device/guard.cuh"
#include "cuda/device/last_block.cuh"
#include "cuda/run.h"
#include "cuda/scan.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = kScanThreads;
constexpr int kVectors = 4;  // vectors that a thread loads before it stores the first

constexpr int64_t kBadStart = -1;

struct Rows {
    MatrixView<const char> x;
    VectorView<const int64_t> indices;
    ScalarView<int64_t> start;
    MatrixView<char> out;
    OperationNumber operation;
    bool checked;  // whether an earlier kernel has checked all indices

    __device__ int64_t index_of(int64_t row) const { return indices[start.get() + row]; }
    __device__ bool is_bad(int64_t row) const {
        return static_cast<uint64_t>(index_of(row)) >= static_cast<uint64_t>(x.rows);
    }
    __device__ bool starts_within() const { return start.get() >= 0 && start.get() <= indices.size - out.rows; }
};

struct CheckMemory {
    SharedArray<int64_t, kThreads / kWarp> row;
    SharedArray<int, 1> last;
};

__device__ void report(const Guard& guard, const Rows& rows, int64_t bad) {
    Failure failure;
    failure.operation = rows.operation;
    if (bad == kBadStart) {
        failure.kind = Failure::kStart, failure.value = rows.start.get();
        failure.position = rows.out.rows, failure.limit = rows.indices.size;
    } else {
        failure.kind = Failure::kIndex, failure.value = rows.index_of(bad);
        failure.position = rows.start.get() + bad, failure.limit = rows.x.rows;
    }
    report_failure(guard, failure);
}

// The first of the rows first, first + step, ... whose index is no row of x, or the number of rows. kBadStart takes
// precedence.
__device__ int64_t first_bad(const Rows& rows, int64_t first, int64_t step) {
    if (!rows.starts_within()) return kBadStart;
    for (int64_t i = first; i < rows.out.rows; i += step)
        if (rows.is_bad(i)) return i;
    return rows.out.rows;
}

__global__ void __launch_bounds__(kThreads) check_kernel(Guard guard, Rows rows, int64_t* found, unsigned* ticket) {
    if (is_stopped(guard)) return;  // only the last block reports, after all blocks have passed this line
    auto& memory = shared_memory<CheckMemory>();
    const int64_t first = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    const int64_t bad =
        combine_block<kThreads>(first_bad(rows, first, int64_t{gridDim.x} * kThreads), memory.row, Smaller());
    if (threadIdx.x == 0) found[blockIdx.x] = bad;
    if (!is_last_block(ticket, gridDim.x, memory.last) || threadIdx.x != 0) return;
    int64_t lowest = rows.out.rows;
    for (unsigned b = 0; b < gridDim.x; ++b) lowest = Smaller()(lowest, found[b]);
    if (lowest < rows.out.rows) report(guard, rows, lowest);
}

// Copies W bytes at a time.
template <int W>
__global__ void __launch_bounds__(kThreads) take_rows_kernel(Guard guard, Rows rows) {
    auto& memory = shared_memory<CheckMemory>();
    const bool stopped = is_stopped(guard);
    const int64_t bad = rows.checked ? rows.out.rows : first_bad(rows, threadIdx.x, kThreads);
    // The grid itself may report a failure: its blocks may see `stopped` change, but all of them stop.
    if (__syncthreads_or(stopped || bad < rows.out.rows)) {
        const int64_t lowest = combine_block<kThreads>(bad, memory.row, Smaller());
        if (threadIdx.x == 0 && lowest < rows.out.rows) report(guard, rows, lowest);
        return;
    }
    const int64_t row_vectors = rows.out.cols / W, vectors = rows.out.rows * row_vectors;
    const auto vector_of = [&](int u) { return (int64_t{blockIdx.x} * kVectors + u) * kThreads + threadIdx.x; };
    Vector<char, W> taken[kVectors];
#pragma unroll
    for (int u = 0; u < kVectors; ++u) {
        const int64_t e = vector_of(u);
        if (e >= vectors) break;
        const char* const from = rows.x.row(rows.index_of(e / row_vectors));
        taken[u] = *reinterpret_cast<const Vector<char, W>*>(from + e % row_vectors * W);
    }
#pragma unroll
    for (int u = 0; u < kVectors; ++u) {
        const int64_t e = vector_of(u);
        if (e >= vectors) break;
        *reinterpret_cast<Vector<char, W>*>(rows.out.row(e / row_vectors) + e % row_vectors * W) = taken[u];
    }
}

template <int W>
bool takes(const Rows& rows) {
    const auto address = reinterpret_cast<uintptr_t>(rows.x.data) | reinterpret_cast<uintptr_t>(rows.out.data);
    return (address | rows.x.row_stride | rows.out.row_stride | rows.out.cols) % W == 0;
}

template <int W>
void launch_width(Rows rows, Stream& stream) {
    const int64_t n = rows.out.rows;
    const int64_t filled = blocks_for(n * (rows.out.cols / W), kThreads * kVectors);
    const int64_t blocks = filled > 0 ? filled : 1;  // at least one block, which detects an invalid start
    if (!every_block_looks(n, blocks)) {
        auto* const found = static_cast<int64_t*>(stream.state.workspace(kMaxScanBlocks * sizeof(int64_t)));
        launch_kernel(stream, check_kernel, scan_grid(n), dim3(kThreads), sizeof(CheckMemory), stream.guard(), rows,
                      found, stream.state.tickets());
        rows.checked = true;
    }
    launch_kernel(stream, take_rows_kernel<W>, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), sizeof(CheckMemory),
                  stream.guard(), rows);
}

}  // namespace

void launch(const ops::TakeRows& op, Stream& stream) {
    const Rows rows{op.x, op.indices, op.start, op.out, number_of(op), false};
    if (takes<16>(rows)) return launch_width<16>(rows, stream);
    if (takes<8>(rows)) return launch_width<8>(rows, stream);
    if (takes<4>(rows)) return launch_width<4>(rows, stream);
    launch_width<1>(rows, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
