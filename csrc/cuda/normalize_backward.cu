#include "cuda/device/normalization.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class Op>
constexpr bool kIsBackward = requires(const Op& op) { op.d_x; };

// What is multiplied by the derivative: the gradient of the output, or the derivative of the input.
template <class T>
STEEPEST_HD const TensorView<const T>& factor_of(const ops::NormalizeBackward<T>& op) {
    return op.d_y;
}
template <class T>
STEEPEST_HD const TensorView<const T>& factor_of(const ops::NormalizeTangent<T>& op) {
    return op.dx;
}
template <class T>
STEEPEST_HD const TensorView<T>& result_of(const ops::NormalizeBackward<T>& op) {
    return op.d_x;
}
template <class T>
STEEPEST_HD const TensorView<T>& result_of(const ops::NormalizeTangent<T>& op) {
    return op.out;
}

// What a channel of a (sample, group) needs: out = factor v + slope (x - mean) + rest.
template <class T>
struct ChannelNumbers {
    T mean, factor, slope, rest;

    // `total` and `correlated` are the averages of u and of u xh over the group; without v they are 0.
    template <class Op>
    __device__ ChannelNumbers(const Op& op, int64_t sample, int64_t channel, double total, double correlated) {
        const int64_t group = channel / op.shape.width();
        const double rstd = static_cast<double>(op.rstd(sample, group));
        const double weight = static_cast<double>(item_or(op.weight, channel, T(1)));
        const double outer = kIsBackward<Op> ? 1 : weight;
        double along = -outer * rstd * rstd * correlated, offset = op.mean ? -outer * rstd * total : 0;
        if constexpr (!kIsBackward<Op>) {
            along += static_cast<double>(item_or(op.d_weight, channel, T(0))) * rstd;
            offset += static_cast<double>(item_or(op.d_bias, channel, T(0)));
        }
        mean = op.mean ? op.mean(sample, group) : T(0);
        factor = static_cast<T>(weight * rstd), slope = static_cast<T>(along), rest = static_cast<T>(offset);
    }

    __device__ T apply(T v, T x) const { return fma(factor, v, fma(slope, x - mean, rest)); }
};

// A sample is one row: some neighbouring threads read a group of its channels twice.
template <class T, int Lanes, class Op>
__global__ void __launch_bounds__(kNormThreads, kNormBlocks)
    differentiate_rows_kernel(Guard guard, Op op, CommonAxes<3> axes) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<NormRowMemory<Lanes>>().partial;
    const TensorView<const T>& factors = factor_of(op);
    const TensorView<T>& results = result_of(op);
    const int64_t width = op.shape.width(), x_stride = channel_stride(op.x);
    const int64_t v_stride = channel_stride(factors), out_stride = channel_stride(results);
    for_each_group<Lanes>(op.shape, [&](int64_t row, int64_t group, int lane) {
        const int64_t begin = group * width, end = row < 0 ? begin : begin + width, i = row < 0 ? 0 : row;
        int64_t offset[3];
        offsets_of(axes, i, offset);
        const T *const x = op.x.data + offset[0], *const v = factors.data + offset[1];
        double total = 0, correlated = 0;
        if (factors) {
            const double mean = op.mean ? static_cast<double>(op.mean(i, group)) : 0;
            for (int64_t j = begin + lane; j < end; j += Lanes) {
                double u = static_cast<double>(v[j * v_stride]);
                if constexpr (kIsBackward<Op>) u *= static_cast<double>(item_or(op.weight, j, T(1)));
                total += u, correlated = fma(u, static_cast<double>(x[j * x_stride]) - mean, correlated);
            }
            const double count = static_cast<double>(width);
            total = combine_group<Lanes>(total, memory, Plus()) / count;
            correlated = combine_group<Lanes>(correlated, memory, Plus()) / count;
            correlated *= static_cast<double>(op.rstd(i, group));
        }
        T* const out = results.data + offset[2];
        for (int64_t j = begin + lane; j < end; j += Lanes) {
            const ChannelNumbers<T> numbers(op, i, j, total, correlated);
            out[j * out_stride] = numbers.apply(factors ? v[j * v_stride] : T(0), x[j * x_stride]);
        }
    });
}

// For each strip and channel the sums of v and v xh.
template <class T, class Op>
__global__ void __launch_bounds__(kNormThreads, kNormBlocks)
    column_products_kernel(Guard guard, Op op, CommonAxes<3> axes, Strips strips, double* partial) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<NormColumns>();
    const StripPlace place(strips);
    const TensorView<const T>& factors = factor_of(op);
    double total[2] = {0, 0};
    if (place.channel < op.shape.channels) {
        const int64_t group = place.channel / op.shape.width();
        const T* const x = op.x.data + place.channel * channel_stride(op.x);
        const T* const v = factors.data + place.channel * channel_stride(factors);
        place.for_each_row(strips, [&](int64_t row) {
            int64_t offset[3];
            offsets_of(axes, row, offset);
            const int64_t sample = row / op.shape.places;
            const double mean = op.mean ? static_cast<double>(op.mean(sample, group)) : 0;
            const double xh = (static_cast<double>(x[offset[0]]) - mean) * static_cast<double>(op.rstd(sample, group));
            const double item = static_cast<double>(v[offset[1]]);
            total[0] += item, total[1] = fma(item, xh, total[1]);
        });
    }
    place.put(total, memory, partial, op.shape.channels);
}

// A warp averages u and u xh over a (sample, group).
template <class T, class Op>
__global__ void __launch_bounds__(kNormThreads, kNormBlocks)
    join_products_kernel(Guard guard, Op op, Strips strips, const double* partial, double* averages) {
    if (is_stopped(guard)) return;
    const NormGroups& shape = op.shape;
    const int64_t g = (int64_t{blockIdx.x} * kNormThreads + threadIdx.x) / kWarp;
    if (g >= shape.samples * shape.groups) return;  // a whole warp
    const int64_t sample = g / shape.groups, width = shape.width(), begin = g % shape.groups * width;
    const int lane = static_cast<int>(threadIdx.x % kWarp);
    double total = 0, correlated = 0;
    for (int64_t e = lane; e < strips.per_run * width; e += kWarp) {
        const int64_t strip = sample * strips.per_run + e / width, channel = begin + e % width;
        const double* const from = partial + strip * 2 * shape.channels + channel;
        double weight = 1;
        if constexpr (kIsBackward<Op>) weight = static_cast<double>(item_or(op.weight, channel, T(1)));
        total = fma(weight, from[0], total), correlated = fma(weight, from[shape.channels], correlated);
    }
    total = combine_lanes<kWarp>(total, Plus()), correlated = combine_lanes<kWarp>(correlated, Plus());
    if (lane > 0) return;
    const double count = static_cast<double>(shape.items());
    averages[2 * g] = total / count, averages[2 * g + 1] = correlated / count;
}

template <class T, class Op>
__global__ void __launch_bounds__(kNormThreads, kNormBlocks)
    differentiate_columns_kernel(Guard guard, Op op, CommonAxes<3> axes, Strips strips, const double* averages) {
    if (is_stopped(guard)) return;
    const StripPlace place(strips);
    if (place.channel >= op.shape.channels) return;
    const TensorView<const T>& factors = factor_of(op);
    const TensorView<T>& results = result_of(op);
    const double* const from = averages + 2 * (place.run * op.shape.groups + place.channel / op.shape.width());
    const ChannelNumbers<T> numbers(op, place.run, place.channel, factors ? from[0] : 0, factors ? from[1] : 0);
    const T* const x = op.x.data + place.channel * channel_stride(op.x);
    const T* const v = factors ? factors.data + place.channel * channel_stride(factors) : nullptr;
    T* const out = results.data + place.channel * channel_stride(results);
    place.for_each_row(strips, [&](int64_t row) {
        int64_t offset[3];
        offsets_of(axes, row, offset);
        out[offset[2]] = numbers.apply(v ? v[offset[1]] : T(0), x[offset[0]]);
    });
}

// d_weight and d_bias: the sums of all strips in their order.
template <class T>
__global__ void __launch_bounds__(kNormThreads, kNormBlocks)
    channel_sums_kernel(Guard guard, ops::NormalizeBackward<T> op, int64_t strips, const double* partial) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<NormColumns>();
    const int64_t channels = op.shape.channels, j = int64_t{blockIdx.x} * kNormWidth + threadIdx.x % kNormWidth;
    const int down = static_cast<int>(threadIdx.x) / kNormWidth;
    double total[2] = {0, 0};
    for (int64_t strip = down; j < channels && strip < strips; strip += kNormHeight)
        for (int k = 0; k < 2; ++k) total[k] += partial[(strip * 2 + k) * channels + j];
    merge_down(total, kNormWidth, memory, Plus());
    if (down > 0 || j >= channels) return;
    const auto put = [&](const VectorView<T>& to, double sum) {
        if (to) to[j] = static_cast<T>(op.accumulate ? static_cast<double>(to[j]) + sum : sum);
    };
    put(op.d_bias, total[0]), put(op.d_weight, total[1]);
}

template <class T, class Op>
void launch_products(const Op& op, const CommonAxes<3>& axes, const Strips& strips, double* partial, Stream& stream) {
    launch_kernel(stream, column_products_kernel<T, Op>, strips.grid(), dim3(kNormThreads), sizeof(NormColumns),
                  stream.guard(), op, axes, strips, partial);
}

template <class T>
void launch_channel_sums(const ops::NormalizeBackward<T>& op, const Strips& strips, const double* partial,
                         Stream& stream) {
    if (!op.sums_channels()) return;
    launch_kernel(stream, channel_sums_kernel<T>, dim3(static_cast<unsigned>(strips.tiles)), dim3(kNormThreads),
                  sizeof(NormColumns), stream.guard(), op, strips.count(), partial);
}

template <class T>
double* workspace_of(const Strips& strips, const NormGroups& shape, Stream& stream) {
    const int64_t items = strips.count() * 2 * shape.channels + 2 * shape.samples * shape.groups;
    return static_cast<double*>(stream.state.workspace(static_cast<size_t>(items) * sizeof(double)));
}

template <class T, class Op>
void launch_rows(const Op& op, const CommonAxes<3>& axes, Stream& stream) {
    with_norm_lanes(op.shape.width(), [&](auto lanes) {
        constexpr int kLanes = decltype(lanes)::value;
        launch_kernel(stream, differentiate_rows_kernel<T, kLanes, Op>,
                      dim3(row_blocks(op.shape.samples * op.shape.groups, kNormThreads / kLanes)), dim3(kNormThreads),
                      sizeof(NormRowMemory<kLanes>), stream.guard(), op, axes);
    });
}

template <class T, class Op>
void launch_columns(const Op& op, const CommonAxes<3>& axes, const Strips& strips, double* partial, Stream& stream) {
    const int64_t groups = op.shape.samples * op.shape.groups;
    double* const averages = partial ? partial + strips.count() * 2 * op.shape.channels : nullptr;
    if (partial)
        launch_kernel(stream, join_products_kernel<T, Op>,
                      dim3(static_cast<unsigned>(blocks_for(groups * kWarp, kNormThreads))), dim3(kNormThreads), 0,
                      stream.guard(), op, strips, partial, averages);
    launch_kernel(stream, differentiate_columns_kernel<T, Op>, strips.grid(), dim3(kNormThreads), 0, stream.guard(), op,
                  axes, strips, averages);
}

}  // namespace

// The sums over channels come first: d_x may be d_y or x itself.
template <class T>
void launch(const ops::NormalizeBackward<T>& op, Stream& stream) {
    const NormGroups& shape = op.shape;
    const CommonAxes<3> axes = row_axes<T>(op.x, op.d_y, op.d_x);
    const bool by_rows = shape.places == 1;
    const Strips strips(by_rows ? 1 : shape.samples, by_rows ? shape.samples : shape.places, shape.channels);
    double* partial = nullptr;
    if (!by_rows || op.sums_channels()) {
        partial = workspace_of<T>(strips, shape, stream);
        launch_products<T>(op, axes, strips, partial, stream);
        launch_channel_sums(op, strips, partial, stream);
    }
    if (!op.d_x || shape.rows() == 0) return;
    by_rows ? launch_rows<T>(op, axes, stream) : launch_columns<T>(op, axes, strips, partial, stream);
}

template <class T>
void launch(const ops::NormalizeTangent<T>& op, Stream& stream) {
    const NormGroups& shape = op.shape;
    if (shape.rows() == 0) return;
    const CommonAxes<3> axes = row_axes<T>(op.x, op.dx, op.out);
    if (shape.places == 1) return launch_rows<T>(op, axes, stream);
    const Strips strips(shape.samples, shape.places, shape.channels);
    double* const partial = op.dx ? workspace_of<T>(strips, shape, stream) : nullptr;
    if (partial) launch_products<T>(op, axes, strips, partial, stream);
    launch_columns<T>(op, axes, strips, partial, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(NormalizeBackward)
STEEPEST_INSTANTIATE(NormalizeTangent)
