#include "cuda/device/labels.cuh"
#include "cuda/device/lane.cuh"
#include "cuda/device/softmax_row.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;

// The factor scale * w_i / sum w of row i, and whether it is nonzero. A row of weight 0 may hold NaN.
template <class T>
struct RowFactor {
    T value;
    bool counts;

    __device__ RowFactor(const BatchRows<T>& rows, int64_t i, double scale, double total) {
        const double weight = i < rows.size ? rows.weight_of(i, 0) : 0;
        value = static_cast<T>(total != 0 ? scale / total * weight : 0), counts = weight != 0;
    }
    __device__ T times(T x) const { return counts ? value * x : T(0); }
};

template <class T, class Shape>
struct ClassesMemory {
    GroupArray<T, Shape::kLanes> group;
    BatchMemory<Shape::kThreads> batch;
};

// p (v - sum_j p_j v_j) with p = softmax(z), for a row of the categorical distribution. The item of v at the most
// probable class is subtracted from v first: see csrc/cpu/output_fisher.cpp.
template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kThreads, kBlocksAtOnce<T, Shape, 1024>)
    multiply_classes_kernel(Guard guard, ops::OutputFisher<T> op, BatchRows<T> rows, bool in_vectors) {
    auto& memory = shared_memory<ClassesMemory<T, Shape>>();
    double total;
    if (!begin_rows<Shape::kThreads>(guard, is_stopped(guard), rows, total, memory.batch)) return;
    RowChunk<T, Shape::kLanes, Shape::kVectors> z(in_vectors), v(in_vectors);
    // A group past the last row still runs the loop: its lanes share a warp with other groups.
    for (int64_t i0 = int64_t{blockIdx.x} * Shape::kRows; i0 < rows.size; i0 += int64_t{gridDim.x} * Shape::kRows) {
        const int64_t i = i0 + threadIdx.x / Shape::kLanes;
        const VectorView<const T> z_row = row_of(op.z, i), v_row = row_of(op.v, i);
        const VectorView<T> out = row_of(op.out, i);
        T maximum, sum = 0, mean = 0, at_maximum = kLowest<T>;
        if constexpr (Shape::kLong) {
            long_row_statistics<Shape::kLanes>(z_row, in_vectors, memory.group, maximum, sum);
        } else {
            z.load(z_row, 0, kLowest<T>);
            maximum = maximum_of_row(z, memory.group);
        }
        for (int64_t start = 0; start < z_row.size; start += z.kSpan) {
            if constexpr (Shape::kLong) z.load(z_row, start, kLowest<T>);
            v.load(v_row, start, T(0));
            look_at(at_maximum, maximum, z, v);
        }
        at_maximum = combine_group<Shape::kLanes>(at_maximum, memory.group, Larger());
        const auto load = [&](int64_t start) {
            if constexpr (Shape::kLong) z.load(z_row, start, kLowest<T>), v.load(v_row, start, T(0));
            z.for_each([&](int q) { z.item[q] = std::exp(z.item[q] - maximum), v.item[q] -= at_maximum; });
        };
        for (int64_t start = 0; start < z_row.size; start += z.kSpan) {
            load(start);
            z.for_each([&](int q) {
                if constexpr (!Shape::kLong) sum += z.item[q];
                mean = std::fma(z.item[q], v.item[q], mean);
            });
        }
        if constexpr (!Shape::kLong) sum = combine_group<Shape::kLanes>(sum, memory.group, Plus());
        mean = combine_group<Shape::kLanes>(mean, memory.group, Plus()) / sum;
        const RowFactor<T> factor(rows, i, op.scale, total);
        // A short row is still in the registers, and not loaded again.
        for (int64_t start = 0; start < z_row.size; start += z.kSpan) {
            if constexpr (Shape::kLong) load(start);
            z.for_each([&](int q) { z.item[q] = factor.times(z.item[q] / sum * (v.item[q] - mean)); });
            z.store(out, start);
        }
    }
}

template <class T>
void launch_classes(const ops::OutputFisher<T>& op, BatchRows<T> rows, Stream& stream) {
    const bool in_vectors = has_vector_rows(op.z) && has_vector_rows(op.v) && has_vector_rows(op.out);
    with_row_shape<T, 16 / sizeof(T)>(op.z.cols, [&](auto shape) {
        using Shape = decltype(shape);
        const unsigned blocks = row_blocks(rows.size, Shape::kRows);
        const LossWorkspace workspace(rows, blocks, stream);
        launch_kernel(stream, multiply_classes_kernel<T, Shape>, dim3(blocks), dim3(Shape::kThreads),
                      sizeof(ClassesMemory<T, Shape>), stream.guard(), op, rows, in_vectors);
    });
}

// The columns that share one formula of a diagonal H.
template <class T>
struct Columns {
    MatrixView<const T> z, v;
    MatrixView<T> out;
};

template <class T, int Lanes, class Formula>
__global__ void __launch_bounds__(kThreads) multiply_items_kernel(Guard guard, Columns<T> columns, Formula formula,
                                                                  double scale, BatchRows<T> rows, bool in_vectors) {
    constexpr int kRows = kThreads / Lanes;
    auto& memory = shared_memory<BatchMemory<kThreads>>();
    double total;
    if (!begin_rows<kThreads>(guard, is_stopped(guard), rows, total, memory)) return;
    RowChunk<T, Lanes, 1> z(in_vectors), v(in_vectors);
    for (int64_t i = int64_t{blockIdx.x} * kRows + threadIdx.x / Lanes; i < rows.size;
         i += int64_t{gridDim.x} * kRows) {
        const RowFactor<T> factor(rows, i, scale, total);
        for (int64_t start = 0; start < columns.z.cols; start += z.kSpan) {
            z.load(row_of(columns.z, i), start, T(0)), v.load(row_of(columns.v, i), start, T(0));
            z.for_each([&](int q) { v.item[q] = factor.times(formula(Lane<T>(z.item[q]), Lane<T>(v.item[q])).value); });
            v.store(row_of(columns.out, i), start);
        }
    }
}

}  // namespace

template <class T>
void launch(const ops::OutputFisher<T>& op, Stream& stream) {
    BatchRows<T> rows{{op.sample_weight, {}, false, 0}, op.z.rows, 0, number_of(op)};
    if (op.distribution == Distribution::kCategorical) return launch_classes(op, rows, stream);
    for_each_information(op, [&](const auto& z, const auto& v, const auto& out, auto formula) {
        const bool in_vectors = has_vector_rows(z) && has_vector_rows(v) && has_vector_rows(out);
        with_lanes<kThreads>(z.cols, [&](auto lanes) {
            constexpr int kLanes = decltype(lanes)::value;
            const unsigned blocks = row_blocks(rows.size, kThreads / kLanes);
            BatchRows<T> counted = rows;
            const LossWorkspace workspace(counted, blocks, stream);
            launch_kernel(stream, multiply_items_kernel<T, kLanes, decltype(formula)>, dim3(blocks), dim3(kThreads),
                          sizeof(BatchMemory<kThreads>), stream.guard(), Columns<T>{z, v, out}, formula, op.scale,
                          counted, in_vectors);
        });
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(OutputFisher)
