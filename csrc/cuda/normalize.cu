#include "cuda/device/normalization.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// A sample is one row: some neighbouring threads read a group of its channels three times.
template <class T, int Lanes>
__global__ void __launch_bounds__(kNormThreads, kNormBlocks)
    normalize_rows_kernel(Guard guard, ops::Normalize<T> op, CommonAxes<3> axes) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<NormRowMemory<Lanes>>().partial;
    const int64_t width = op.shape.width();
    const double count = static_cast<double>(width);
    for_each_group<Lanes>(op.shape, [&](int64_t row, int64_t group, int lane) {
        const int64_t items = row < 0 ? 0 : width;
        int64_t offset[3];
        offsets_of(axes, row < 0 ? 0 : row, offset);
        const int64_t begin = group * width, stride = channel_stride(op.x);
        const T* const x = op.x.data + offset[0] + begin * stride;
        double mean = 0, squares = 0;
        if (op.norm != Norm::kRms) {
            for (int64_t j = lane; j < items; j += Lanes) mean += static_cast<double>(x[j * stride]);
            mean = combine_group<Lanes>(mean, memory, Plus()) / count;
        }
        for (int64_t j = lane; j < items; j += Lanes) {
            const double d = static_cast<double>(x[j * stride]) - mean;
            squares = fma(d, d, squares);
        }
        squares = combine_group<Lanes>(squares, memory, Plus());
        const double rstd = reciprocal_deviation(squares / count, op.epsilon);
        const T shift = static_cast<T>(mean), scale = static_cast<T>(rstd);
        // What rounding the mean leaves is subtracted after the scaling.
        const T rest = static_cast<T>((static_cast<double>(shift) - mean) * rstd);
        T* const out = op.out.data + offset[2];
        for (int64_t j = lane; j < items; j += Lanes) {
            const T xh = fma(x[j * stride] - shift, scale, rest);
            out[(begin + j) * channel_stride(op.out)] =
                fma(xh, item_or(op.weight, begin + j, T(1)), item_or(op.bias, begin + j, T(0)));
        }
        if (lane > 0 || row < 0) return;
        if (op.mean) op.mean(row, group) = shift;
        op.rstd(row, group) = scale;
    });
}

// For each strip and channel the mean, and then the sum of squared deviations from it: an offset that all items share,
// or items far from the others, cost no accuracy.
template <class T>
__global__ void __launch_bounds__(kNormThreads, kNormBlocks)
    column_moments_kernel(Guard guard, ops::Normalize<T> op, CommonAxes<3> axes, Strips strips, double* partial) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<NormColumns>();
    const StripPlace place(strips);
    const bool mine = place.channel < op.shape.channels;
    const T* const x = op.x.data + place.channel * channel_stride(op.x);
    const auto for_each_item = [&](auto&& f) {
        if (!mine) return;
        place.for_each_row(strips, [&](int64_t row) {
            int64_t offset[3];
            offsets_of(axes, row, offset);
            f(static_cast<double>(x[offset[0]]));
        });
    };
    const double rows = static_cast<double>(strips.end(place.strip) - strips.begin(place.strip));
    double sum[2] = {0, 0}, total[2] = {0, 0};
    for_each_item([&](double item) { sum[0] += item; });
    merge_down(sum, kNormWidth, memory, Plus());
    if (place.down == 0) memory.total[static_cast<int>(threadIdx.x)] = sum[0] / rows;
    __syncthreads();  // the means are written
    const double mean = memory.total[static_cast<int>(threadIdx.x) % kNormWidth];
    for_each_item([&](double item) { total[0] = fma(item - mean, item - mean, total[0]); });
    merge_down(total, kNormWidth, memory, Plus());
    if (place.down > 0 || !mine) return;
    double* const to = partial + place.strip * 2 * op.shape.channels + place.channel;
    to[0] = mean, to[op.shape.channels] = total[0];
}

// A warp joins the moments of a (sample, group), and writes its statistics.
template <class T>
__global__ void __launch_bounds__(kNormThreads, kNormBlocks)
    join_moments_kernel(Guard guard, ops::Normalize<T> op, Strips strips, const double* partial, double* statistics) {
    if (is_stopped(guard)) return;
    const NormGroups& shape = op.shape;
    const int64_t g = (int64_t{blockIdx.x} * kNormThreads + threadIdx.x) / kWarp;
    if (g >= shape.samples * shape.groups) return;  // a whole warp
    const int64_t sample = g / shape.groups, group = g % shape.groups, width = shape.width();
    const double count = static_cast<double>(shape.items());
    const int lane = static_cast<int>(threadIdx.x % kWarp);
    const auto sum = [&](auto&& f) {
        double total = 0;
        for (int64_t e = lane; e < strips.per_run * width; e += kWarp) {
            const int64_t strip = sample * strips.per_run + e / width;
            const double* const from = partial + strip * 2 * shape.channels + group * width + e % width;
            total += f(static_cast<double>(strips.end(strip) - strips.begin(strip)), from[0], from[shape.channels]);
        }
        return combine_lanes<kWarp>(total, Plus());
    };
    const double mean = sum([](double rows, double m, double) { return rows * m; }) / count;
    const double squares = sum([=](double rows, double m, double own) { return own + rows * (m - mean) * (m - mean); });
    if (lane > 0) return;
    const double rstd = reciprocal_deviation(squares / count, op.epsilon);
    statistics[2 * g] = mean, statistics[2 * g + 1] = rstd;
    op.mean(sample, group) = static_cast<T>(mean), op.rstd(sample, group) = static_cast<T>(rstd);
    if (!op.running_mean) return;
    op.running_mean[group] = moved(op.running_mean[group], mean, op.momentum);
    op.running_var[group] = moved(op.running_var[group], squares / (count - 1), op.momentum);
}

// y = (x - mean) scale + rest, with numbers for each channel of a sample.
template <class T>
__global__ void __launch_bounds__(kNormThreads, kNormBlocks)
    scale_columns_kernel(Guard guard, ops::Normalize<T> op, CommonAxes<3> axes, Strips strips,
                         const double* statistics) {
    if (is_stopped(guard)) return;
    const StripPlace place(strips);
    const int64_t j = place.channel;
    if (j >= op.shape.channels) return;
    double mean, rstd;
    if (op.given) {
        mean = static_cast<double>(op.running_mean[j]);
        rstd = reciprocal_deviation(static_cast<double>(op.running_var[j]), op.epsilon);
    } else {
        const double* const from = statistics + 2 * (place.run * op.shape.groups + j / op.shape.width());
        mean = from[0], rstd = from[1];
    }
    const double weight = static_cast<double>(item_or(op.weight, j, T(1)));
    const T shift = static_cast<T>(mean), scale = static_cast<T>(rstd * weight);
    // What rounding the mean leaves is part of the offset.
    const T rest = static_cast<T>(static_cast<double>(item_or(op.bias, j, T(0))) +
                                  (static_cast<double>(shift) - mean) * rstd * weight);
    const T* const x = op.x.data + j * channel_stride(op.x);
    T* const out = op.out.data + j * channel_stride(op.out);
    place.for_each_row(strips, [&](int64_t row) {
        int64_t offset[3];
        offsets_of(axes, row, offset);
        out[offset[2]] = fma(x[offset[0]] - shift, scale, rest);
    });
}

}  // namespace

template <class T>
void launch(const ops::Normalize<T>& op, Stream& stream) {
    const NormGroups& shape = op.shape;
    if (shape.rows() == 0) return;
    const CommonAxes<3> axes = row_axes<T>(op.x, {}, op.out);
    const dim3 block(kNormThreads);
    if (!op.given && shape.places == 1)
        return with_norm_lanes(shape.width(), [&](auto lanes) {
            constexpr int kLanes = decltype(lanes)::value;
            launch_kernel(stream, normalize_rows_kernel<T, kLanes>,
                          dim3(row_blocks(shape.samples * shape.groups, kNormThreads / kLanes)), block,
                          sizeof(NormRowMemory<kLanes>), stream.guard(), op, axes);
        });
    const Strips strips(shape.samples, shape.places, shape.channels);
    double* statistics = nullptr;
    if (!op.given) {
        const int64_t groups = shape.samples * shape.groups, partial_items = strips.count() * 2 * shape.channels;
        const auto bytes = static_cast<size_t>(partial_items + 2 * groups) * sizeof(double);
        auto* const partial = static_cast<double*>(stream.state.workspace(bytes));
        statistics = partial + partial_items;
        launch_kernel(stream, column_moments_kernel<T>, strips.grid(), block, sizeof(NormColumns), stream.guard(), op,
                      axes, strips, partial);
        launch_kernel(stream, join_moments_kernel<T>,
                      dim3(static_cast<unsigned>(blocks_for(groups * kWarp, kNormThreads))), block, 0, stream.guard(),
                      op, strips, partial, statistics);
    }
    launch_kernel(stream, scale_columns_kernel<T>, strips.grid(), block, 0, stream.guard(), op, axes, strips,
                  statistics);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Normalize)
