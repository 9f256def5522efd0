// Rows of images as operands of products: convolutions without a copy of every window (no im2col).
//
// In a row of an image, what one tap reads for neighbouring outputs lies a fixed number of items apart, and what
// neighbouring taps read overlaps. So a row of outputs is a product of a strided view of the image with the weights,
// whose inner dimension has a segment for each run of taps.
#pragma once

#include "common/taps.h"
#include "common/views.h"
#include "cpu/gemm_tile.h"
#include "cpu/rows.h"
#include "cpu/team.h"
#include "cpu/tile.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int64_t kLongestSum = 1024;  // products that are summed in registers before they are added to an item

STEEPEST_HD int64_t floor_of(int64_t a, int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// The channels of a convolution. A depthwise one has a group, and so one weight a tap, for each channel.
struct ChannelGroups {
    int64_t groups, in, out, group_in, group_out;

    ChannelGroups(int64_t groups, int64_t in, int64_t out)
        : groups(groups), in(in), out(out), group_in(in / groups), group_out(out / groups) {}
    bool depthwise() const { return groups > 1 && group_in == 1 && group_out == 1; }

    // Calls f(group, first, width, source) for panels of at most `most` outputs: those from `first` on of a group, and
    // its first source. A depthwise kernel takes all groups together, and each output has a source of its own.
    template <class F>
    void for_each_panel(int64_t most, F&& f) const {
        const int64_t walked = depthwise() ? 1 : groups, outputs = depthwise() ? out : group_out;
        for (int64_t group = 0; group < walked; ++group)
            for (int64_t first = 0; first < outputs; first += most)
                f(group, first, static_cast<int>(outputs - first < most ? outputs - first : most),
                  depthwise() ? first : group * group_in);
    }
};

// Memory for eight-byte numbers behind `n` items, which begin on a cache line; scratch_bytes() says how much all takes.
template <class T>
int64_t* numbers_behind(T* items, int64_t n) {
    return reinterpret_cast<int64_t*>(items + (n + 1) / 2 * 2);
}
template <class T>
size_t scratch_bytes(int64_t items, int64_t numbers) {
    return static_cast<size_t>((items + 1) * static_cast<int64_t>(sizeof(T)) +
                               numbers * static_cast<int64_t>(sizeof(int64_t)));
}

// Part of an image: channel c of pixel (row, column), counted from the part's first, is at
// data[row * row_stride + column * channels + c].
template <class T>
struct ImagePart {
    const T* data;
    int64_t row_stride;
};

// The part of an image in a range of rows and columns, with zeros where these lie outside of it: in place if possible,
// else a copy in `buffer`. With `gapless` its rows follow one another.
template <class T>
ImagePart<T> part_of_image(const TensorView<const T>& x, int64_t image, Range rows, Range columns, bool gapless,
                           T* buffer);

// Whether the items of an array follow one another in C order.
template <class T>
bool is_dense(const TensorView<T>& view) {
    int64_t stride = 1;
    for (int d = view.axes - 1; d >= 0; stride *= view.extent[d], --d)
        if (view.extent[d] != 1 && view.stride[d] != stride) return false;
    return true;
}

// How the rows of an image are divided into bands, by the image's shape alone: a band's sources stay in the caches.
struct Bands {
    int64_t height, count;

    Range rows(int64_t band, int64_t all) const {
        const int64_t end = (band + 1) * height;
        return {band * height, end < all ? end : all};
    }
};

// `row_items` sources belong to each of the image's `all` rows.
inline Bands bands_of(int64_t images, int64_t all, int64_t row_items, int64_t item_bytes) {
    constexpr int64_t kBandBytes = 128 << 10, kUnits = 32, kLeastHeight = 4;
    int64_t height = kBandBytes / (row_items * item_bytes + 1);
    const int64_t shared = (all * images + kUnits - 1) / kUnits;  // few images are shared out by their bands
    height = height < shared ? height : shared;
    height = height > kLeastHeight ? height : kLeastHeight;
    if (height >= all) return {all, 1};
    const int64_t count = (all + height - 1) / height;
    return {(all + count - 1) / count, count};
}

// Calls f(image, rows) for the bands of one thread.
template <class F>
void for_each_band(Team& team, int64_t images, int64_t rows, const Bands& bands, F&& f) {
    const Range mine = team.split(images * bands.count, 1);
    for (int64_t unit = mine.begin; unit < mine.end; ++unit) {
        team.checkpoint();
        f(unit / bands.count, bands.rows(unit % bands.count, rows));
    }
}

// The weights of some neighbouring output channels, and where their taps read.
template <class T>
struct TapPanel {
    const T* weights;  // item (p, j) at weights[p * stride + j]; p runs over the segments
    int64_t stride;
    int64_t channel;  // the first output channel
    int channels;
    int64_t k;          // products of each segment
    Segments segments;  // places relative to an output's first source
    int64_t step;       // items between the sources of neighbouring outputs
};

// A row of outputs: output x is at data[x * stride], its channels channel_stride apart.
template <class T>
struct OutputRow {
    T* data;
    int64_t stride, channel_stride, size;
};

// Rows at a time that a row of n outputs is computed in: 26 are 13 + 13, not 14 + 12.
template <class T>
STEEPEST_HD int64_t tiles_of_row(int64_t n) {
    return (n + TileShape<T>::kRows - 1) / TileShape<T>::kRows;
}

template <class T>
STEEPEST_HD void multiply_taps(const TapPanel<T>& panel, const T* source, int rows, T* to, int64_t to_stride) {
    const int64_t most = panel.k < kLongestSum && panel.k > 0 ? kLongestSum / panel.k : 1;
    int64_t s = 0;
    do {
        const int64_t left = panel.segments.count - s;
        const Segments segments{left < most ? left : most, panel.segments.offset + s};
        multiply_tile(rows, panel.channels, panel.k, source, panel.step, 1, panel.weights + s * panel.k * panel.stride,
                      panel.stride, to, to_stride, s > 0, false, segments);
        s += segments.count;
    } while (s < panel.segments.count);
}

// One weight for each tap and channel: output j of a place sums over the taps source(j) weights(tap, j).
template <class T>
STEEPEST_HD void multiply_depthwise(const TapPanel<T>& panel, const T* source, int rows, T* to, int64_t to_stride) {
    using V = Vec<T>;
    constexpr int kTogether = 4;  // outputs whose sums run beside one another
    for (int i0 = 0; i0 < rows; i0 += kTogether) {
        const int together = rows - i0 < kTogether ? rows - i0 : kTogether;
        for_each_vector<T>(0, panel.channels, [&](int64_t j, int lanes) {
            V sum[kTogether];
            for (int i = 0; i < kTogether; ++i) sum[i] = V(0);
            for (int64_t s = 0; s < panel.segments.count; ++s) {
                const T* const at = source + i0 * panel.step + panel.segments.offset[s] + j;
                const V weight = load_items(panel.weights + s * panel.stride + j, 1, lanes);
#pragma GCC unroll 4
                for (int i = 0; i < kTogether; ++i) {
                    if (i >= together) break;
                    sum[i] = fma(load_items(at + i * panel.step, 1, lanes), weight, sum[i]);
                }
            }
            for (int i = 0; i < together; ++i) store_items(sum[i], to + (i0 + i) * to_stride + j, 1, lanes);
        });
    }
}

// Computes the panel's channels of a row of outputs, the first of which has its sources at `source`, and calls
// epilogue(tile) for tiles that cover them; their rows are the row's outputs.
template <class T, class Epilogue>
STEEPEST_HD void put_row(const TapPanel<T>& panel, const T* source, const OutputRow<T>& out, bool depthwise,
                         const Epilogue& epilogue) {
    constexpr int kRows = TileShape<T>::kRows, kCols = TileShape<T>::kCols;
    alignas(64) T stage[kRows * kCols];
    const bool staged = out.channel_stride != 1;
    const int64_t tiles = tiles_of_row<T>(out.size);
    for (int64_t t = 0; t < tiles; ++t) {
        const int64_t x0 = out.size * t / tiles;
        const int rows = static_cast<int>(out.size * (t + 1) / tiles - x0);
        T* const direct = out.data + x0 * out.stride + panel.channel * out.channel_stride;
        T* const to = staged ? stage : direct;
        const int64_t stride = staged ? kCols : out.stride;
        if (depthwise)
            multiply_depthwise(panel, source + x0 * panel.step, rows, to, stride);
        else
            multiply_taps(panel, source + x0 * panel.step, rows, to, stride);
        epilogue(Tile<T>{to, stride, x0, rows, panel.channel, panel.channels});
        if (!staged) continue;
        for (int i = 0; i < rows; ++i)
            for (int j = 0; j < panel.channels; ++j)
                direct[i * out.stride + j * out.channel_stride] = stage[i * kCols + j];
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
