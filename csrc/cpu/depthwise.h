// Depthwise convolutions with small square windows, and the gradients of their weights.
//
// A vector of channels walks along a few rows of outputs at once. Its weights stay in registers, as do the sums of the
// outputs whose windows have begun, so that a source is loaded once for all of these rows. Columns beside the image are
// left out, and zeros stand for the rows above and below it: no image is copied for its padding.
#pragma once

#include "cpu/image_rows.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Rows that are walked along together: the sums of three of their columns lie in registers, beside nine weights.
constexpr int kWalkedRows = kTileRows > 8 ? 4 : 2;
constexpr int walked_rows(int64_t size) { return size <= 5 ? kWalkedRows : 2; }

// Narrow vectors gain nothing by it, and their code would be as long.
constexpr bool kWalks = Vec<float>::kSize > 4;

// Whether the window is one that is walked. Others are taken row by row (image_rows.h).
inline bool walks(const ChannelGroups& channels, const Taps& window) {
    if (!kWalks) return false;
    const TapAxis &down = window.rows, &across = window.columns;
    const bool fits = down.size == 3 || down.size == 5 ? down.stride <= 2 : down.size == 7 && down.stride == 1;
    return channels.depthwise() && fits && down.size == across.size && down.stride == across.stride &&
           down.dilation == 1 && across.dilation == 1;
}

// Neighbouring rows of an image.
template <class T>
struct PixelRows {
    T* data;  // of the first channel
    int64_t row_stride, pixel_stride;
};

// What some neighbouring rows of outputs read.
template <class T>
struct WalkedSources {
    static constexpr int kMost = (kWalkedRows - 1) * 2 + 7;  // for a stride of 2 and 7 taps

    const T* row[kMost];
    int64_t columns;  // that exist
    int64_t step;     // items between neighbouring columns
    int64_t first;    // the column that the first tap of the first output reads
    int64_t ahead;    // items between these rows and those of the next walk
};

// Some rows of outputs, kWalkedRows at most, for some neighbouring channels, a vector at most.
template <class T>
struct Walk {
    int64_t size, stride;  // of the window along both axes
    int rows;
    int64_t outputs;  // in each row
    int lanes;
    int64_t channels;  // the weights of tap t begin at item t * channels
};

// outputs = start + the sums over taps of sources times weights
template <class T>
void walk_outputs(const Walk<T>& walk, const WalkedSources<T>& sources, const T* weights, Vec<T> start,
                  const PixelRows<T>& outputs);

// sums += the sums over outputs of sources times gradients; bias += those of gradients
template <class T>
void walk_gradients(const Walk<T>& walk, const WalkedSources<T>& sources, const PixelRows<const T>& gradients, T* sums,
                    T* bias);

// The sources of some rows of outputs of one image after the other, in place or, if the channels of a pixel do not follow
// one another or pixels have gaps, as a copy.
template <class T>
class WalkedImage {
  public:
    WalkedImage() = default;

    // Memory for outputs of at most `rows` rows.
    static int64_t scratch_items(const TensorView<const T>& x, const Taps& window, int64_t rows) {
        const int64_t row = x.extent[2] * x.extent[3], most = (rows - 1) * window.rows.stride + window.rows.size;
        return row * (1 + (is_packed(x) ? 0 : most < x.extent[1] ? most : x.extent[1]));
    }

    WalkedImage(const TensorView<const T>& x, const Taps& window, T* scratch)
        : x_(&x), down_(window.rows), zeros_(scratch), copy_(scratch + x.extent[2] * x.extent[3]) {
        for (T* zero = zeros_; zero < copy_; ++zero) *zero = T(0);
        sources_.columns = x.extent[2], sources_.step = x.extent[3], sources_.first = window.columns.first(0);
    }

    // Takes what the outputs of these rows of an image read.
    void take(int64_t image, Range outputs) {
        held_ = {clipped(down_.first(outputs.begin)), clipped(down_.first(outputs.end - 1) + down_.size)};
        part_ = part_of_image(*x_, image, held_, Range{0, x_->extent[2]}, false, copy_);
    }

    // The sources of rows of outputs from y on, out of those taken, from a channel on.
    const WalkedSources<T>& sources(int64_t y, int rows, int64_t channel) {
        const int64_t first = down_.first(y), n = (rows - 1) * down_.stride + down_.size;
        for (int64_t s = 0; s < n; ++s) {
            const bool exists = first + s >= held_.begin && first + s < held_.end;
            sources_.row[s] = (exists ? part_.data + (first + s - held_.begin) * part_.row_stride : zeros_) + channel;
        }
        sources_.ahead = rows * down_.stride * part_.row_stride;
        return sources_;
    }

  private:
    static bool is_packed(const TensorView<const T>& x) { return x.stride[3] == 1 && x.stride[2] == x.extent[3]; }
    int64_t clipped(int64_t row) const { return row < 0 ? 0 : row < x_->extent[1] ? row : x_->extent[1]; }

    const TensorView<const T>* x_ = nullptr;
    TapAxis down_;
    T *zeros_ = nullptr, *copy_ = nullptr;
    Range held_{0, 0};
    ImagePart<T> part_{};
    WalkedSources<T> sources_{};
};

// Calls f(y, n) for a range of rows that are walked along by a window of this size, evenly divided.
template <class F>
STEEPEST_HD void for_walked_rows(Range rows, int64_t size, F&& f) {
    const int64_t n = rows.end - rows.begin, most = walked_rows(size), walks = (n + most - 1) / most;
    for (int64_t w = 0; w < walks; ++w) {
        const int64_t begin = n * w / walks;
        f(rows.begin + begin, static_cast<int>(n * (w + 1) / walks - begin));
    }
}

// A depthwise convolution of one thread, or with `turned` one whose taps are taken from the last to the first.
template <class T>
class DepthwiseConvolution {
  public:
    DepthwiseConvolution(const TensorView<const T>& x, const TensorView<const T>& weight, bool turned,
                         const VectorView<const T>& bias, const TensorView<T>& out, const Taps& window, Team& team)
        : bias_(bias),
          out_(out),
          team_(team),
          bands_(bands_of(out.extent[0], out.extent[1], window.rows.stride * x.extent[2] * x.extent[3], sizeof(T))),
          walk_{window.rows.size, window.rows.stride, 0, out.extent[2], 0, out.extent[3]} {
        const bool packs = turned || !is_dense(weight);
        const int64_t image = WalkedImage<T>::scratch_items(x, window, bands_.height);
        const int64_t stage = is_staged() ? kWalkedRows * out.extent[2] * Vec<T>::kSize : 0;
        T* const scratch =
            static_cast<T*>(team.scratch(scratch_bytes<T>(image + stage + (packs ? weight.size() : 0), 0)));
        image_ = WalkedImage<T>(x, window, scratch);
        stage_ = scratch + image;
        weights_ = packs ? stage_ + stage : weight.data;
        if (packs) pack(weight, turned, stage_ + stage);
    }

    // epilogue_of(image, y) is the epilogue of a row of outputs, whose tiles have a row for each output.
    template <class EpilogueOf>
    void run(const EpilogueOf& epilogue_of) {
        for_each_band(team_, out_.extent[0], out_.extent[1], bands_, [&](int64_t image, Range rows) {
            image_.take(image, rows);
            for_walked_rows(rows, walk_.size, [&](int64_t y, int n) {
                walk_.rows = n;
                for_each_vector<T>(0, out_.extent[3], [&](int64_t channel, int lanes) {
                    walk_.lanes = lanes;
                    put_rows(image, y, channel, epilogue_of);
                });
            });
        });
    }

  private:
    bool is_staged() const { return out_.stride[3] != 1; }

    static void pack(const TensorView<const T>& w, bool turned, T* to) {
        const int64_t taps = w.extent[0] * w.extent[1];
        for (int64_t t = 0; t < taps; ++t) {
            const int64_t from = turned ? taps - 1 - t : t;
            const T* const tap = w.data + from / w.extent[1] * w.stride[0] + from % w.extent[1] * w.stride[1];
            for (int64_t c = 0; c < w.extent[3]; ++c) *to++ = tap[c * w.stride[3]];
        }
    }

    template <class EpilogueOf>
    void put_rows(int64_t image, int64_t y, int64_t channel, const EpilogueOf& epilogue_of) {
        constexpr int kSize = Vec<T>::kSize;
        T* const out = out_.data + image * out_.stride[0] + y * out_.stride[1] + channel * out_.stride[3];
        const PixelRows<T> rows = is_staged() ? PixelRows<T>{stage_, walk_.outputs * kSize, kSize}
                                              : PixelRows<T>{out, out_.stride[1], out_.stride[2]};
        const Vec<T> start = bias_ ? load_items(&bias_[channel], bias_.stride, walk_.lanes) : Vec<T>(0);
        walk_outputs(walk_, image_.sources(y, walk_.rows, channel), weights_ + channel, start, rows);
        for (int r = 0; r < walk_.rows; ++r) {
            T* const row = rows.data + r * rows.row_stride;
            epilogue_of(image, y + r)(Tile<T>{row, rows.pixel_stride, 0, walk_.outputs, channel, walk_.lanes});
            if (!is_staged()) continue;
            for (int64_t x = 0; x < walk_.outputs; ++x)
                for (int j = 0; j < walk_.lanes; ++j)
                    out[r * out_.stride[1] + x * out_.stride[2] + j * out_.stride[3]] = row[x * kSize + j];
        }
    }

    VectorView<const T> bias_;
    const TensorView<T>& out_;
    Team& team_;
    Bands bands_;
    Walk<T> walk_;
    WalkedImage<T> image_;
    T* stage_;
    const T* weights_;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
