#include "cuda/device/labels.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

using Parts = ops::ClassScatterParts;
constexpr int kThreads = 256;
constexpr int kColumns = 64;  // columns of the sums in a block, one for each thread

template <class T>
STEEPEST_HD RowWeights<T> weights_of(const ops::ClassScatter<T>& op) {
    return {op.sample_weight, op.labels, false, 0};
}

// The sums of a part of the rows for each class, followed by the sum of the weights. A thread sums one column, in the
// order of the rows.
template <class T>
__global__ void __launch_bounds__(kColumns)
    sum_part_kernel(Guard guard, ops::ClassScatter<T> op, double* partial, int64_t parts) {
    if (is_stopped(guard)) return;
    const int64_t d = op.x.cols, k = op.centre.rows, j = int64_t{blockIdx.x} * kColumns + threadIdx.x;
    if (j > d) return;
    const int64_t part = blockIdx.y, n = op.x.rows;
    double* const sums = partial + part * k * (d + 1) + j;
    const RowWeights<T> rows = weights_of(op);
    for (int64_t c = 0; c < k; ++c) sums[c * (d + 1)] = 0;
    for (int64_t i = n * part / parts; i < n * (part + 1) / parts; ++i) {
        const int64_t c = rows.label_of(i);
        const double weight = rows.weight_of(i, c);
        // A sample of weight 0 may hold NaN.
        if (weight == 0) continue;
        const double deviation = j == d ? 1 : static_cast<double>(op.x(i, j) - op.centre(c, j));
        sums[c * (d + 1)] += weight * deviation;
    }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    add_parts_kernel(Guard guard, ops::ClassScatter<T> op, const double* partial, int64_t parts) {
    if (is_stopped(guard)) return;
    const int64_t d = op.x.cols, items = op.centre.rows * (d + 1), e = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (e >= items) return;
    const int64_t c = e / (d + 1), j = e % (d + 1);
    double& out = j == d ? op.weights[c] : op.sums(c, j);
    double sum = op.accumulate ? out : 0;
    for (int64_t part = 0; part < parts; ++part) sum += partial[part * items + e];
    out = sum;
}

// Writes rows begin .. begin + centred.rows, minus the centres of their classes, times the square roots of their
// weights.
template <class T>
__global__ void __launch_bounds__(kThreads)
    centre_kernel(Guard guard, ops::ClassScatter<T> op, int64_t begin, MatrixView<T> centred) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (e >= centred.rows * centred.cols) return;
    const int64_t i = e / centred.cols, j = e % centred.cols;
    const RowWeights<T> rows = weights_of(op);
    const int64_t r = begin + i, c = rows.label_of(r);
    const double weight = rows.weight_of(r, c);
    T item = 0;
    if (weight != 0) item = static_cast<T>(sqrt(weight)) * (op.x(r, j) - op.centre(c, j));
    centred(i, j) = item;
}

// Adds the lower triangle of a product to both triangles of the scatter.
template <class T>
__global__ void __launch_bounds__(kThreads)
    add_product_kernel(Guard guard, MatrixView<const T> product, MatrixView<double> scatter, bool accumulate) {
    if (is_stopped(guard)) return;
    const int64_t d = product.cols, e = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (e >= d * d) return;
    const int64_t i = e / d, j = e % d;
    const double item = static_cast<double>(i > j ? product(i, j) : product(j, i));
    scatter(i, j) = accumulate ? scatter(i, j) + item : item;
}

dim3 grid_over(int64_t items) { return dim3(static_cast<unsigned>(blocks_for(items, kThreads))); }

}  // namespace

template <class T>
void launch(const ops::ClassScatter<T>& op, Stream& stream) {
    const int64_t n = op.x.rows, d = op.x.cols, k = op.centre.rows;
    if (op.labels) check_labels(BatchRows<T>{{{}, op.labels, false, 0}, n, k, number_of(op)}, stream);
    const Parts parts(n, d, k, sizeof(T));
    double* const partial = op.workspace.data;
    const dim3 grid(static_cast<unsigned>(blocks_for(d + 1, kColumns)), static_cast<unsigned>(parts.parts));
    launch_kernel(stream, sum_part_kernel<T>, grid, dim3(kColumns), 0, stream.guard(), op, partial, parts.parts);
    launch_kernel(stream, add_parts_kernel<T>, grid_over(parts.sums()), dim3(kThreads), 0, stream.guard(), op, partial,
                  parts.parts);

    T* const centred = reinterpret_cast<T*>(partial + parts.parts * parts.sums());
    T* const product = reinterpret_cast<T*>(partial + parts.parts * parts.sums() + parts.centred());
    // Without samples, one pass over no rows gives a product of zero.
    for (int64_t begin = 0; begin == 0 || begin < n; begin += Parts::kRows) {
        const int64_t rows = n - begin < Parts::kRows ? n - begin : Parts::kRows;
        const MatrixView<T> z{centred, rows, d, d, 1};
        launch_kernel(stream, centre_kernel<T>, grid_over(rows * d), dim3(kThreads), 0, stream.guard(), op, begin, z);
        const MatrixView<const T> right{centred, rows, d, d, 1};
        launch(ops::MatMul<T>{right.transposed(), right, {product, d, d, d, 1}}, stream);
        launch_kernel(stream, add_product_kernel<T>, grid_over(d * d), dim3(kThreads), 0, stream.guard(),
                      MatrixView<const T>{product, d, d, d, 1}, op.scatter, op.accumulate || begin > 0);
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(ClassScatter)
