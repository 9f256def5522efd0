#include "common/sampled_scores.h"

#include "cuda/device/guard.cuh"
#include "cuda/device/lane.cuh"
#include "cuda/device/rows.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;

template <class T>
__device__ uint64_t stream_of(const ops::SampledScore<T>& op) {
    return static_cast<uint64_t>(op.stream.get());
}

// p - onehot(class), for the class whose interval of the cumulative distribution contains the number u in [0, 1). Each
// lane sums neighbouring classes. The sum over the lanes before tells which lane searches for the class.
template <class T, int Lanes>
__global__ void __launch_bounds__(kThreads) draw_classes_kernel(Guard guard, ops::SampledScore<T> op) {
    if (is_stopped(guard)) return;
    constexpr int kRows = kThreads / Lanes;
    const int lane = static_cast<int>(threadIdx.x) % Lanes;
    const int64_t share = (op.z.cols + Lanes - 1) / Lanes;
    // A group past the last row still runs the loop: its lanes share a warp with other groups.
    for (int64_t i0 = int64_t{blockIdx.x} * kRows; i0 < op.z.rows; i0 += int64_t{gridDim.x} * kRows) {
        const int64_t i = i0 + threadIdx.x / Lanes;
        const VectorView<const T> z = row_of(op.z, i);
        const VectorView<T> out = row_of(op.out, i);
        const int64_t begin = lane * share < z.size ? lane * share : z.size;
        const int64_t end = begin + share < z.size ? begin + share : z.size;
        T maximum = -static_cast<T>(__builtin_inf());
        for (int64_t j = lane; j < z.size; j += Lanes) maximum = Larger()(maximum, z[j]);
        maximum = combine_lanes<Lanes>(maximum, Larger());
        const auto weight = [&](int64_t j) { return static_cast<double>(std::exp(z[j] - maximum)); };
        double mine = 0;
        for (int64_t j = begin; j < end; ++j) mine += weight(j);
        double up_to = mine;  // the sum over this lane and those before
        for (int offset = 1; offset < Lanes; offset *= 2) {
            const double theirs = __shfl_up_sync(kAllLanes, up_to, static_cast<unsigned>(offset), Lanes);
            if (lane >= offset) up_to += theirs;
        }
        const double total = __shfl_sync(kAllLanes, up_to, Lanes - 1, Lanes);
        const double before = __shfl_up_sync(kAllLanes, up_to, 1u, Lanes);
        const Philox words = Philox::at(op.seed, stream_of(op), static_cast<uint64_t>(i));
        const double target = uniform_double(words.bits64(0)) * total;
        int64_t drawn = -1;
        double running = lane == 0 ? 0 : before;
        if (running <= target && target < up_to) {
            for (int64_t j = begin; j < end; ++j) {
                const double w = weight(j);
                running += w;
                if (w > 0) drawn = j;  // the last possible class, in case rounding leaves the target unreached
                if (running > target) break;
            }
        }
        drawn = combine_lanes<Lanes>(drawn, Larger());
        for (int64_t j = lane; j < z.size; j += Lanes)
            out[j] = static_cast<T>(std::exp(z[j] - maximum)) / static_cast<T>(total) - (j == drawn ? T(1) : T(0));
    }
}

// Each thread processes the items of one counter.
template <class T, class Noise, class Formula>
__global__ void __launch_bounds__(kThreads)
    draw_items_kernel(Guard guard, ops::SampledScore<T> op, MatrixView<const T> z, MatrixView<T> out, Noise,
                      Formula formula) {
    if (is_stopped(guard)) return;
    const int64_t counter = int64_t{blockIdx.x} * kThreads + threadIdx.x, first = counter * kNoisePerCounter;
    const int64_t items = z.rows * z.cols;
    if (first >= items) return;
    const Philox words = Philox::at(op.seed, stream_of(op), static_cast<uint64_t>(counter));
    T noise[kNoisePerCounter];
    Noise::make(words.word, noise);
#pragma unroll
    for (int l = 0; l < kNoisePerCounter; ++l) {
        const int64_t e = first + l;
        if (e >= items) return;
        const int64_t i = e / z.cols, j = e % z.cols;
        out(i, j) = formula(Lane<T>(z(i, j)), Lane<T>(noise[l])).value;
    }
}

template <class T>
__global__ void __launch_bounds__(kThreads) draw_counts_kernel(Guard guard, ops::SampledScore<T> op) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (e >= op.z.rows * op.z.cols) return;
    const int64_t i = e / op.z.cols, j = e % op.z.cols;
    op.out(i, j) = static_cast<T>(PoissonScore(op.seed, stream_of(op))(static_cast<double>(op.z(i, j)), e));
}

dim3 grid_for(int64_t threads) { return dim3(static_cast<unsigned>(blocks_for(threads, kThreads))); }

}  // namespace

template <class T>
void launch(const ops::SampledScore<T>& op, Stream& stream) {
    if (op.distribution == Distribution::kCategorical)
        return with_lanes<kWarp>(op.z.cols, [&](auto lanes) {
            constexpr int kLanes = decltype(lanes)::value;
            launch_kernel(stream, draw_classes_kernel<T, kLanes>, dim3(row_blocks(op.z.rows, kThreads / kLanes)),
                          dim3(kThreads), 0, stream.guard(), op);
        });
    if (op.distribution == Distribution::kPoisson)
        return launch_kernel(stream, draw_counts_kernel<T>, grid_for(op.z.rows * op.z.cols), dim3(kThreads), 0,
                             stream.guard(), op);
    for_each_score(op, [&](const auto& z, const auto& out, auto noise, auto formula) {
        launch_kernel(stream, draw_items_kernel<T, decltype(noise), decltype(formula)>,
                      grid_for(blocks_for(z.rows * z.cols, kNoisePerCounter)), dim3(kThreads), 0, stream.guard(), op, z,
                      out, noise, formula);
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SampledScore)
