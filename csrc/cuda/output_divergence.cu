#include "cuda/device/labels.cuh"
#include "cuda/device/lane.cuh"
#include "cuda/device/rows.cuh"

#include "common/divergences.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocks = 2;  // blocks at once on a multiprocessor, which limits the registers of a thread

using Number = Lane<double>;

struct DivergenceMemory {
    BatchMemory<kThreads> batch;
    GridSumMemory<kThreads> sum;
};

// Sums `sum` over all threads, and stores the mean over rows; `total` is the sum of their weights.
__device__ void store_mean(double sum, double total, double* partial, unsigned* ticket, GridSumMemory<kThreads>& memory,
                           double* out) {
    if (sum_over_grid<kThreads>(sum, partial, ticket, memory) && threadIdx.x == 0) *out = total != 0 ? sum / total : 0;
}

template <class T, int Lanes, int In, class Formula>
__global__ void __launch_bounds__(kThreads, kBlocks)
    divergence_of_items_kernel(Guard guard, DivergenceItems<T, In> items, Formula formula, BatchRows<T> rows,
                               bool in_vectors, double* out, double* partial, unsigned* ticket) {
    constexpr int kRows = kThreads / Lanes;
    auto& memory = shared_memory<DivergenceMemory>();
    double total;
    if (!begin_rows<kThreads>(guard, is_stopped(guard), rows, total, memory.batch)) return;
    RowChunk<T, Lanes, 1> x[In];
#pragma unroll
    for (int k = 0; k < In; ++k) x[k].in_vectors = in_vectors;
    double sum = 0;
    for (int64_t i = int64_t{blockIdx.x} * kRows + threadIdx.x / Lanes; i < rows.size;
         i += int64_t{gridDim.x} * kRows) {
        const double weight = rows.weight_of(i, 0);
        if (weight == 0) continue;  // such a row may hold NaN
        double row_sum = 0;
        for (int64_t start = 0; start < items.in[0].cols; start += x[0].kSpan) {
            // Items past the end of the row have equal distributions.
#pragma unroll
            for (int k = 0; k < In; ++k) x[k].load(row_of(items.in[k], i), start, T(0));
            x[0].for_each([&](int q) {
                Number in[In];
#pragma unroll
                for (int k = 0; k < In; ++k) in[k] = Number(x[k].item[q]);
                // Rounding must not make a divergence negative; the order of the arguments propagates NaN.
                row_sum += max(Number(0), formula(in)).value;
            });
        }
        sum += weight * row_sum;
    }
    store_mean(sum, total, partial, ticket, memory.sum, out);
}

template <int Lanes>
struct ClassesMemory : DivergenceMemory {
    GroupArray<double, Lanes> group;
};

// For each row: log1p(sum_j p_j (exp(u_j) - 1 - u_j)) with p = softmax(z) and u = t - sum_j p_j t_j, whose mean is 0.
template <class T, int Lanes>
__global__ void __launch_bounds__(kThreads, kBlocks)
    divergence_of_classes_kernel(Guard guard, ops::OutputDivergence<T> op, BatchRows<T> rows, bool in_vectors,
                                 double* partial, unsigned* ticket) {
    constexpr int kRows = kThreads / Lanes;
    constexpr double kInfinity = __builtin_inf(), kHuge = 600;
    auto& memory = shared_memory<ClassesMemory<Lanes>>();
    double total;
    if (!begin_rows<kThreads>(guard, is_stopped(guard), rows, total, memory.batch)) return;
    RowChunk<T, Lanes, 1> z(in_vectors), w(in_vectors);
    double sum = 0;
    // A group past the last row still runs the loop: its lanes share a warp with other groups.
    for (int64_t i0 = int64_t{blockIdx.x} * kRows; i0 < rows.size; i0 += int64_t{gridDim.x} * kRows) {
        const int64_t i = i0 + threadIdx.x / Lanes;
        const VectorView<const T> z_row = row_of(op.z, i), w_row = row_of(op.w, i);
        const auto for_each_pair = [&](auto&& f) {
            for (int64_t start = 0; start < z_row.size; start += z.kSpan) {
                z.load(z_row, start, T(-kInfinity)), w.load(w_row, start, T(-kInfinity));
                z.for_each([&](int q) { f(Number(z.item[q]), Number(w.item[q])); });
            }
        };
        const auto combined = [&](double value, auto combine) {
            return combine_group<Lanes>(value, memory.group, combine);
        };
        double top = -kInfinity, exponentials = 0, products = 0;
        for_each_pair([&](Number z_j, Number) { top = Larger()(top, z_j.value); });
        top = combined(top, Larger());
        for_each_pair([&](Number z_j, Number w_j) {
            const Number e = exp(z_j - Number(top));
            exponentials += e.value, products += times_infinite(e, difference(w_j, z_j)).value;
        });
        exponentials = combined(exponentials, Plus());
        const double mean = combined(products, Plus()) / exponentials, log_sum = std::log(exponentials);
        // log(p_j exp(u_j)): it differs from log(q_j) by the constant that makes the mean of u zero
        const auto log_other = [&](Number w_j) { return (w_j - Number(top)) - Number(log_sum + mean); };
        double remainder = 0, above = -kInfinity, shares = 0;
        for_each_pair([&](Number z_j, Number w_j) {
            const Number b = log_other(w_j), u = difference(w_j, z_j) - Number(mean);
            remainder += scaled_exp_remainder((z_j - Number(top)) - Number(log_sum), b, u).value;
            above = Larger()(above, b.value);
        });
        remainder = combined(remainder, Plus()), above = combined(above, Larger());
        if (above > kHuge) for_each_pair([&](Number, Number w_j) { shares += std::exp(log_other(w_j).value - above); });
        shares = combined(shares, Plus());
        const double weight = i < rows.size ? rows.weight_of(i, 0) : 0;
        if (weight == 0 || z.lane != 0) continue;  // a row of weight 0 may hold NaN
        // A mean of -inf means that a class has probability 0 in q but not in p.
        sum += weight * (!(mean > -kInfinity) ? -mean : above > kHuge ? above + std::log(shares) : log1p(remainder));
    }
    store_mean(sum, total, partial, ticket, memory.sum, op.out);
}

}  // namespace

template <class T>
void launch(const ops::OutputDivergence<T>& op, Stream& stream) {
    const BatchRows<T> all_rows{{op.sample_weight, {}, false, 0}, op.z.rows, 0, number_of(op)};
    // Calls f(lanes, blocks, rows, workspace) with the shape of the grid for rows of `cols` items.
    const auto with_grid = [&](int64_t cols, auto&& f) {
        with_lanes<kThreads>(cols, [&](auto lanes) {
            const unsigned blocks = row_blocks(all_rows.size, kThreads / decltype(lanes)::value);
            BatchRows<T> rows = all_rows;
            const LossWorkspace workspace(rows, blocks, stream);
            f(lanes, blocks, rows, workspace);
        });
    };
    if (op.distribution == Distribution::kCategorical)
        return with_grid(op.z.cols, [&](auto lanes, unsigned blocks, const auto& rows, const auto& workspace) {
            constexpr int kLanes = decltype(lanes)::value;
            const bool in_vectors = has_vector_rows(op.z) && has_vector_rows(op.w);
            launch_kernel(stream, divergence_of_classes_kernel<T, kLanes>, dim3(blocks), dim3(kThreads),
                          sizeof(ClassesMemory<kLanes>), stream.guard(), op, rows, in_vectors, workspace.partial,
                          stream.state.tickets());
        });
    with_divergence(op, [&]<int In>(const DivergenceItems<T, In>& items, auto formula) {
        bool in_vectors = true;
        for (const auto& m : items.in) in_vectors = in_vectors && has_vector_rows(m);
        with_grid(items.in[0].cols, [&](auto lanes, unsigned blocks, const auto& rows, const auto& workspace) {
            launch_kernel(stream, divergence_of_items_kernel<T, decltype(lanes)::value, In, decltype(formula)>,
                          dim3(blocks), dim3(kThreads), sizeof(DivergenceMemory), stream.guard(), items, formula, rows,
                          in_vectors, op.out, workspace.partial, stream.state.tickets());
        });
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(OutputDivergence)
