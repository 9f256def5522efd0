#include "cuda/device/row_indices.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = kScanThreads;
constexpr int kVectors = 4;  // vectors that a thread loads before it stores the first

struct Rows {
    MatrixView<const char> x;
    RowIndices indices;
    MatrixView<char> out;
    bool checked;  // whether an earlier kernel has checked all indices

    // Where row i of the mini-batch comes from and goes to; with `kPuts` the indices are those of out, else those of x.
    template <bool kPuts>
    __device__ const char* source(int64_t i) const {
        return x.row(kPuts ? i : indices.index_of(i));
    }
    template <bool kPuts>
    __device__ char* target(int64_t i) const {
        return out.row(kPuts ? indices.index_of(i) : i);
    }
};

// Copies W bytes at a time.
template <int W, bool kPuts>
__global__ void __launch_bounds__(kThreads) move_rows_kernel(Guard guard, Rows rows) {
    if (!rows_are_valid(guard, rows.indices, rows.checked, shared_memory<RowCheckMemory>().row)) return;
    const int64_t row_vectors = rows.out.cols / W, vectors = rows.indices.count * row_vectors;
    const auto vector_of = [&](int u) { return (int64_t{blockIdx.x} * kVectors + u) * kThreads + threadIdx.x; };
    Vector<char, W> taken[kVectors];
#pragma unroll
    for (int u = 0; u < kVectors; ++u) {
        const int64_t e = vector_of(u);
        if (e >= vectors) break;
        const char* const from = rows.source<kPuts>(e / row_vectors);
        taken[u] = *reinterpret_cast<const Vector<char, W>*>(from + e % row_vectors * W);
    }
#pragma unroll
    for (int u = 0; u < kVectors; ++u) {
        const int64_t e = vector_of(u);
        if (e >= vectors) break;
        *reinterpret_cast<Vector<char, W>*>(rows.target<kPuts>(e / row_vectors) + e % row_vectors * W) = taken[u];
    }
}

template <int W>
bool takes(const Rows& rows) {
    const auto address = reinterpret_cast<uintptr_t>(rows.x.data) | reinterpret_cast<uintptr_t>(rows.out.data);
    return (address | rows.x.row_stride | rows.out.row_stride | rows.out.cols) % W == 0;
}

template <int W, bool kPuts>
void launch_width(Rows rows, Stream& stream) {
    const int64_t filled = blocks_for(rows.indices.count * (rows.out.cols / W), kThreads * kVectors);
    const int64_t blocks = filled > 0 ? filled : 1;  // at least one block, which detects an invalid start
    rows.checked = check_rows_before(rows.indices, blocks, stream);
    launch_kernel(stream, move_rows_kernel<W, kPuts>, dim3(static_cast<unsigned>(blocks)), dim3(kThreads),
                  sizeof(RowCheckMemory), stream.guard(), rows);
}

template <bool kPuts>
void move_rows(const Rows& rows, Stream& stream) {
    if (takes<16>(rows)) return launch_width<16, kPuts>(rows, stream);
    if (takes<8>(rows)) return launch_width<8, kPuts>(rows, stream);
    if (takes<4>(rows)) return launch_width<4, kPuts>(rows, stream);
    launch_width<1, kPuts>(rows, stream);
}

}  // namespace

void launch(const ops::TakeRows& op, Stream& stream) {
    const RowIndices taken{op.indices, op.start, op.out.rows, op.x.rows, number_of(op)};
    move_rows<false>({op.x, taken, op.out, false}, stream);
}

void launch(const ops::PutRows& op, Stream& stream) {
    const RowIndices put{op.indices, op.start, op.x.rows, op.out.rows, number_of(op)};
    move_rows<true>({op.x, put, op.out, false}, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
