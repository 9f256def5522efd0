// What the loops over the steps of recurrent layers share. A block walks some sequences through all their steps, and so
// needs no grid-wide barrier; its threads share out units. Sums of a unit run over the inner dimension in order.
#pragma once

#include "cuda/device/lane.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/device/spans.cuh"
#include "ops/recurrence.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kStepThreads = 256;
constexpr int kBlockSequences = 4;
constexpr int kStepDepth = 64;  // of the inner dimension that is in shared memory at a time

template <class T>
struct StepMemory {
    SharedArray<T, kBlockSequences * kStepDepth> operand;
    SharedArray<int64_t, kBlockSequences> first, length;  // of the block's sequences; 0 for those beyond the last
};

// The sequences of a block. Their spans are in shared memory, where any of them can be indexed.
template <class T>
struct BlockSequences {
    StepMemory<T>& memory;
    int count;
    int64_t begin, steps;

    __device__ explicit BlockSequences(const Spans& spans)
        : memory(shared_memory<StepMemory<T>>()), begin(int64_t{blockIdx.x} * kBlockSequences), steps(0) {
        count = static_cast<int>(spans.count - begin < kBlockSequences ? spans.count - begin : kBlockSequences);
        const int i = static_cast<int>(threadIdx.x);
        if (i < kBlockSequences) {
            memory.first[i] = i < count ? spans.first(begin + i) : 0;
            memory.length[i] = i < count ? spans.length(begin + i) : 0;
        }
        __syncthreads();  // the spans are written
        for (int j = 0; j < kBlockSequences; ++j) {
            const int64_t n = memory.length[j];
            if (n > steps) steps = n;
        }
    }
    __device__ int64_t length(int i) const { return memory.length[i]; }
    __device__ bool active(int i, int64_t t) const { return t < length(i); }
    __device__ int64_t row(int i, int64_t t, bool reverse) const {
        const int64_t first = memory.first[i];
        return reverse ? first + length(i) - 1 - t : first + t;
    }
};

// An item of a state before a step: of the row of the step before, or of the first states, whose absence stands for 0.
template <class A, class T>
__device__ __forceinline__ T before_step(const MatrixView<A>& rows, const MatrixView<const T>& first_states,
                                         const BlockSequences<T>& block, int i, int64_t t, bool reverse, int64_t j) {
    if (t > 0) return rows(block.row(i, t - 1, reverse), j);
    return first_states ? first_states(block.begin + i, j) : T(0);
}

// Calls f(j) for the units of a thread; all threads of a block make as many calls, the last ones perhaps beyond.
template <class F>
__device__ __forceinline__ void for_each_unit(int64_t units, F&& f) {
    for (int64_t j0 = 0; j0 < units; j0 += blockDim.x) f(j0 + threadIdx.x);
}

// sum[i][g] += sum over k of operand(i, k) w(k, g units + j), for gates `first` .. `end` - 1. Operands of sequences
// without a step t are not read. All threads of the block call it, after writing what others read as operands.
template <int kGates, class T, class Operand>
__device__ __forceinline__ void add_products(T (&sum)[kBlockSequences][kGates], int first, int end,
                                             const MatrixView<const T>& w, int64_t units, int64_t j,
                                             const BlockSequences<T>& block, int64_t t, Operand&& operand) {
    auto& memory = block.memory.operand;
    for (int64_t k0 = 0; k0 < w.rows; k0 += kStepDepth) {
        __syncthreads();  // operands are written, those of the last part have been read
        for (int e = static_cast<int>(threadIdx.x); e < kBlockSequences * kStepDepth;
             e += static_cast<int>(blockDim.x)) {
            const int i = e / kStepDepth;
            const int64_t k = k0 + e % kStepDepth;
            memory[e] = k < w.rows && block.active(i, t) ? operand(i, k) : T(0);
        }
        __syncthreads();  // operands are in shared memory
        if (j >= units) continue;
        const int depth = static_cast<int>(w.rows - k0 < kStepDepth ? w.rows - k0 : kStepDepth);
        for (int k = 0; k < depth; ++k) {
#pragma unroll
            for (int g = 0; g < kGates; ++g) {
                if (g < first || g >= end) continue;
                const T item = w(k0 + k, g * units + j);
#pragma unroll
                for (int i = 0; i < kBlockSequences; ++i) {
                    const T state = memory[i * kStepDepth + k];
                    sum[i][g] = std::fma(state, item, sum[i][g]);
                }
            }
        }
    }
}

template <int kGates, class T>
__device__ __forceinline__ void clear(T (&sum)[kBlockSequences][kGates]) {
#pragma unroll
    for (int i = 0; i < kBlockSequences; ++i)
#pragma unroll
        for (int g = 0; g < kGates; ++g) sum[i][g] = T(0);
}

template <int kGates, class T>
__device__ __forceinline__ void load_gates(const MatrixView<T>& rows, int64_t row, int64_t units, int64_t j,
                                           Lane<std::remove_const_t<T>>* gate) {
#pragma unroll
    for (int g = 0; g < kGates; ++g)
        gate[g] = Lane<std::remove_const_t<T>>(rows ? rows(row, g * units + j) : std::remove_const_t<T>(0));
}

template <int kGates, class T>
__device__ __forceinline__ void store_gates(const Lane<T>* gate, const MatrixView<T>& rows, int64_t row, int64_t units,
                                            int64_t j) {
#pragma unroll
    for (int g = 0; g < kGates; ++g) rows(row, g * units + j) = gate[g].value;
}

inline dim3 step_grid(const Spans& spans) {
    return dim3(static_cast<unsigned>(blocks_for(spans.count, kBlockSequences)));
}

// As many threads as there are units, in whole warps.
inline dim3 step_block(int64_t units) {
    const int64_t threads = blocks_for(units, kWarp) * kWarp;
    return dim3(static_cast<unsigned>(threads < kStepThreads ? threads : kStepThreads));
}

// A matrix in the workspace, which moves on.
template <class T>
MatrixView<T> take_matrix(T*& workspace, int64_t rows, int64_t cols) {
    const MatrixView<T> taken{workspace, rows, cols, cols, 1};
    workspace += rows * cols;
    return taken;
}

}  // namespace
}  // namespace STEEPEST_TARGET
}  // namespace steepest
