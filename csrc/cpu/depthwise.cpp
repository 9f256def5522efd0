#include "cpu/depthwise.h"

#include <utility>

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// For each output whose window has begun, its sum so far. What is summed for outputs that do not exist is not used.
template <class T, class... Lanes>
struct HeldSums {
    using V = Vec<T>;
    static constexpr bool kLeavesOut = false;

    const PixelRows<T> to;
    const V start;

    STEEPEST_HD V begin(int, int64_t, Lanes...) const { return start; }
    STEEPEST_HD void multiply(V source, V& weight, V& sum) const { sum = fma(source, weight, sum); }
    STEEPEST_HD void end(int row, int64_t x, V sum, Lanes... lanes) const {
        sum.store(to.data + row * to.row_stride + x * to.pixel_stride, lanes...);
    }
};

// For each output whose window has begun, its gradient. What a tap holds is then a sum of products.
template <class T, bool kAhead, class... Lanes>
struct HeldGradients {
    using V = Vec<T>;
    static constexpr bool kLeavesOut = true;

    const PixelRows<const T> from;
    const int64_t ahead;  // items between these rows and those of the next walk
    V bias;

    STEEPEST_HD V begin(int row, int64_t x, Lanes... lanes) {
        const T* const at = from.data + row * from.row_stride + x * from.pixel_stride;
        if constexpr (kAhead) __builtin_prefetch(at + ahead, 0, 2);
        const V gradient = V::load(at, lanes...);
        bias = bias + gradient;
        return gradient;
    }
    STEEPEST_HD void multiply(V source, V& sum, V& gradient) const { sum = fma(source, gradient, sum); }
    STEEPEST_HD void end(int, int64_t, V, Lanes...) const {}
};

// A walk along kRows rows of outputs with kHigh x kWide taps. held[r][d] belongs to output x + d of row r. With each x,
// kStride columns of sources are read, and multiplied with the taps that these outputs have there.
template <class T, int kHigh, int kWide, int kStride, int kRows>
struct Walker {
    using V = Vec<T>;
    static constexpr int kSources = (kRows - 1) * kStride + kHigh, kHeld = (kWide + kStride - 1) / kStride;

    // The first of them are also the last of the walk before. The others are brought into the second-level cache by that
    // walk: pixels with many channels lie too far apart for the processor to foresee them. Walks with one row of taps
    // after the other do so little work for a prefetch that it does not pay.
    static constexpr bool kAhead = kHigh == kWide;
    static constexpr int kShared = kHigh > kStride ? kHigh - kStride : 0;

    V tap[kHigh][kWide], held[kRows][kHeld];

    STEEPEST_HD Walker() {
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
            for (int d = 0; d < kHeld; ++d) held[r][d] = V(0);
    }

    template <class Holder, class... Lanes>
    STEEPEST_HD void run(const WalkedSources<T>& from, int64_t outputs, Holder& holder, Lanes... lanes) {
        const WalkedSources<T> sources = from;  // which no store can change
        for (int64_t x = 1 - kHeld; x < outputs; ++x)
            if (sizeof...(Lanes) == 0 && x >= 0 && x + kHeld <= outputs)
                step<false>(sources, x, outputs, holder, lanes...);
            else
                step<true>(sources, x, outputs, holder, lanes...);
    }

    // At an edge some of the outputs do not exist.
    template <bool kEdge, class Holder, class... Lanes>
    STEEPEST_HD void step(const WalkedSources<T>& sources, int64_t x, int64_t outputs, Holder& holder, Lanes... lanes) {
        const auto exists = [=](int64_t output) { return !kEdge || (output >= 0 && output < outputs); };
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
            for (int d = 0; d + 1 < kHeld; ++d) held[r][d] = held[r][d + 1];
        if (exists(x + kHeld - 1))
#pragma GCC unroll 4
            for (int r = 0; r < kRows; ++r) held[r][kHeld - 1] = holder.begin(r, x + kHeld - 1, lanes...);
#pragma GCC unroll 2
        for (int q = kWide - kStride; q < kWide; ++q) {
            const int64_t column = sources.first + x * kStride + q;
            if (column < 0 || column >= sources.columns) continue;
            V source[kSources];
#pragma GCC unroll 16
            for (int s = 0; s < kSources; ++s) source[s] = V::load(sources.row[s] + column * sources.step, lanes...);
            if constexpr (kAhead && !kEdge)
#pragma GCC unroll 8
                for (int s = kShared; s < kSources; ++s)
                    __builtin_prefetch(sources.row[s] + column * sources.step + sources.ahead, 0, 2);
#pragma GCC unroll 8
            for (int d = 0; d < kHeld; ++d) {
                const int t = q - d * kStride;
                if (t < 0 || (Holder::kLeavesOut && !exists(x + d))) continue;
#pragma GCC unroll 8
                for (int i = 0; i < kHigh; ++i)
#pragma GCC unroll 4
                    for (int r = 0; r < kRows; ++r) holder.multiply(source[r * kStride + i], tap[i][t], held[r][d]);
            }
        }
        if (exists(x))
#pragma GCC unroll 4
            for (int r = 0; r < kRows; ++r) holder.end(r, x, held[r][0], lanes...);
    }
};

template <class T, int kSize, int kStride, int kRows, class... Lanes>
void put_outputs(const Walk<T>& walk, const WalkedSources<T>& sources, const T* weights, Vec<T> start,
                 const PixelRows<T>& outputs, Lanes... lanes) {
    Walker<T, kSize, kSize, kStride, kRows> walker;
#pragma GCC unroll 64
    for (int t = 0; t < kSize * kSize; ++t)
        walker.tap[t / kSize][t % kSize] = Vec<T>::load(weights + t * walk.channels, lanes...);
    HeldSums<T, Lanes...> holder{outputs, start};
    walker.run(sources, walk.outputs, holder, lanes...);
}

// The sums of a window of 3 x 3 taps lie in registers, but of a larger one those of a row of taps.
template <class T, int kSize, int kStride, int kRows, class... Lanes>
void add_gradients(const Walk<T>& walk, WalkedSources<T> sources, const PixelRows<const T>& gradients, T* sums, T* bias,
                   Lanes... lanes) {
    using V = Vec<T>;
    constexpr int kHigh = kSize == 3 ? 3 : 1, kTaps = kHigh * kSize;
    for (int i = 0; i < kSize; i += kHigh, sums += kTaps * walk.channels) {
        Walker<T, kHigh, kSize, kStride, kRows> walker;
#pragma GCC unroll 16
        for (int t = 0; t < kTaps; ++t) walker.tap[t / kSize][t % kSize] = V::load(sums + t * walk.channels, lanes...);
        HeldGradients<T, walker.kAhead, Lanes...> holder{gradients, kRows * gradients.row_stride,
                                                         V::load(bias, lanes...)};
        walker.run(sources, walk.outputs, holder, lanes...);
#pragma GCC unroll 16
        for (int t = 0; t < kTaps; ++t) walker.tap[t / kSize][t % kSize].store(sums + t * walk.channels, lanes...);
        if (i == 0) holder.bias.store(bias, lanes...);
        for (int s = 0; s + kHigh < WalkedSources<T>::kMost; ++s) sources.row[s] = sources.row[s + kHigh];
    }
}

// Calls f<kSize, kStride, kRows>() with the numbers of a walk: as constants, they lay sums and weights in registers.
template <int kSize, int kStride, int kRows, class T, class F>
STEEPEST_HD void with_rows(const Walk<T>& walk, F&& f) {
    if constexpr (kRows > 1)
        if (walk.rows < kRows) return with_rows<kSize, kStride, kRows - 1>(walk, f);
    f.template operator()<kSize, kStride, kRows>();
}
template <class T, class F>
STEEPEST_HD void with_numbers(const Walk<T>& walk, F&& f) {
    if constexpr (!kWalks) return;
    if (walk.size == 3 && walk.stride == 1) return with_rows<3, 1, kWalkedRows>(walk, f);
    if (walk.size == 3) return with_rows<3, 2, kWalkedRows>(walk, f);
    if (walk.size == 7) return with_rows<7, 1, walked_rows(7)>(walk, f);
    if (walk.stride == 1) return with_rows<5, 1, kWalkedRows>(walk, f);
    with_rows<5, 2, kWalkedRows>(walk, f);
}

}  // namespace

template <class T>
void walk_outputs(const Walk<T>& walk, const WalkedSources<T>& sources, const T* weights, Vec<T> start,
                  const PixelRows<T>& outputs) {
    with_numbers(walk, [&]<int kSize, int kStride, int kRows>() {
        if (walk.lanes == Vec<T>::kSize)
            put_outputs<T, kSize, kStride, kRows>(walk, sources, weights, start, outputs);
        else
            put_outputs<T, kSize, kStride, kRows>(walk, sources, weights, start, outputs, walk.lanes);
    });
}

template <class T>
void walk_gradients(const Walk<T>& walk, const WalkedSources<T>& sources, const PixelRows<const T>& gradients, T* sums,
                    T* bias) {
    with_numbers(walk, [&]<int kSize, int kStride, int kRows>() {
        if (walk.lanes == Vec<T>::kSize)
            add_gradients<T, kSize, kStride, kRows>(walk, sources, gradients, sums, bias);
        else
            add_gradients<T, kSize, kStride, kRows>(walk, sources, gradients, sums, bias, walk.lanes);
    });
}

template void walk_outputs(const Walk<float>&, const WalkedSources<float>&, const float*, Vec<float>,
                           const PixelRows<float>&);
template void walk_outputs(const Walk<double>&, const WalkedSources<double>&, const double*, Vec<double>,
                           const PixelRows<double>&);
template void walk_gradients(const Walk<float>&, const WalkedSources<float>&, const PixelRows<const float>&, float*,
                             float*);
template void walk_gradients(const Walk<double>&, const WalkedSources<double>&, const PixelRows<const double>&, double*,
                             double*);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
