// Transposed convolutions without products by zeros: a pixel times all weights of a row of taps is a row of a product,
// whose parts are added to the outputs that the taps reach.
//
// As a convolution of a larger image (conv2d_transpose.cpp), the same outputs take products by the zeros around it, and
// vectors along few channels are half empty. Here vectors lie along the channels of all taps of a row. The additions
// come on top.
#pragma once

#include "cpu/image_rows.h"
#include "ops/conv2d.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
class AddedProducts {
  public:
    // Whether this way takes fewer operations on vectors than the other, by the shapes alone.
    static bool suits(const ops::Conv2dTranspose<T>& op) {
        const ChannelGroups channels(op.groups, op.x.extent[3], op.out.extent[3]);
        if (channels.depthwise()) return false;
        constexpr double kAddition = 2.5;  // operations for each vector that is added to the outputs
        constexpr int64_t kLanes = Vec<T>::kSize;
        const TapAxis &down = op.window.rows, &across = op.window.columns;
        const auto vectors = [](int64_t n) { return static_cast<double>((n + kLanes - 1) / kLanes); };
        const int64_t outputs = channels.group_out;
        // Tiles of few columns have vectors of half the width.
        const double width = outputs <= kLanes / 2 ? 0.5 : vectors(outputs);
        const auto taps = static_cast<double>(op.window.taps()), inputs = static_cast<double>(channels.group_in);
        const double phases = static_cast<double>(down.stride * across.stride);
        const double gathered =
            static_cast<double>(op.out.extent[1] * op.out.extent[2]) * taps / phases * inputs * width;
        const double products = static_cast<double>(down.size) * inputs * vectors(across.size * outputs);
        const double added =
            static_cast<double>(op.x.extent[1] * op.x.extent[2]) * (products + kAddition * taps * vectors(outputs));
        return added < 0.95 * gathered;
    }

    AddedProducts(const ops::Conv2dTranspose<T>& op, Team& team)
        : op_(op),
          team_(team),
          down_(op.window.rows),
          across_(op.window.columns),
          channels_(op.groups, op.x.extent[3], op.out.extent[3]),
          run_(across_.size * channels_.group_out),
          pitch_((channels_.group_out + Vec<T>::kSize - 1) / Vec<T>::kSize * Vec<T>::kSize),
          pixel_(pitch_ * op.groups),
          row_items_(row_pixels() * pixel_),
          bands_(bands_of(op.x.extent[0], op.out.extent[1], row_items_, sizeof(T))) {
        const int64_t outputs = bands_.height * row_items_, weights = down_.size * channels_.in * run_;
        const int64_t stage = TileShape<T>::kRows * run_ + Vec<T>::kSize;  // vectors are read beyond its end
        const int64_t reaching_rows = (bands_.height + down_.extent()) / down_.stride + 2;
        const int64_t source_rows = reaching_rows < op.x.extent[1] ? reaching_rows : op.x.extent[1];
        const int64_t sources = source_rows * op.x.extent[2] * channels_.in;
        outputs_ = static_cast<T*>(team.scratch(scratch_bytes<T>(outputs + stage + weights + sources, 0)));
        stage_ = outputs_ + outputs, weights_ = stage_ + stage, sources_ = weights_ + weights;
        for (int64_t i = 0; i < stage; ++i) stage_[i] = T(0);
        pack();
    }

    // epilogue_of(image, y, x, step) is the epilogue of a row of outputs that begins at x, `step` pixels apart.
    template <class EpilogueOf>
    void run(const EpilogueOf& epilogue_of) {
        for_each_band(team_, op_.x.extent[0], op_.out.extent[1], bands_, [&](int64_t image, Range rows) {
            add_products(image, rows);
            for (int64_t y = rows.begin; y < rows.end; ++y) put(image, y, rows.begin, epilogue_of(image, y, 0, 1));
        });
    }

  private:
    // Pixels of a row of outputs with those that are cut off at both ends.
    int64_t row_pixels() const {
        const int64_t reached = (op_.x.extent[2] - 1) * across_.stride + across_.extent();
        const int64_t kept = across_.before + op_.out.extent[2];
        return reached > kept ? reached : kept;
    }

    // For each row of taps, group and source channel the weights of its taps, the outputs innermost.
    void pack() const {
        const TensorView<const T>& w = op_.weight;
        T* to = weights_;
        for (int64_t i = 0; i < down_.size; ++i)
            for (int64_t k = 0; k < channels_.in; ++k)
                for (int64_t j = 0; j < across_.size; ++j)
                    for (int64_t c = 0; c < channels_.group_out; ++c)
                        *to++ = w.data[i * w.stride[0] + j * w.stride[1] + c * w.stride[2] + k * w.stride[3]];
    }

    // Writes all sums of some rows of outputs.
    void add_products(int64_t image, Range rows) {
        const int64_t items = (rows.end - rows.begin) * row_items_;
        for (int64_t i = 0; i < items; ++i) outputs_[i] = T(0);
        const Range sources = reaching(rows, 0, down_.extent() - 1);
        if (sources.empty()) return;
        const ImagePart<T> part = part_of_image(op_.x, image, sources, {0, op_.x.extent[2]}, false, sources_);
        for (int64_t i = 0; i < down_.size; ++i) {
            const Range of_tap = reaching(rows, i * down_.dilation, i * down_.dilation);
            for (int64_t s = of_tap.begin; s < of_tap.end; ++s) {
                const int64_t y = down_.first(s) + i * down_.dilation;
                add_row(part.data + (s - sources.begin) * part.row_stride, i, outputs_ + (y - rows.begin) * row_items_);
            }
        }
    }

    // The rows of sources that reach some rows of outputs by taps at an offset from `least` to `most`.
    Range reaching(Range rows, int64_t least, int64_t most) const {
        const int64_t begin = -floor_of(-(rows.begin + down_.before - most), down_.stride);
        const int64_t end = floor_of(rows.end - 1 + down_.before - least, down_.stride) + 1;
        return {begin > 0 ? begin : 0, end < op_.x.extent[1] ? end : op_.x.extent[1]};
    }

    // Adds a row of sources times the weights of a row of taps to a row of outputs.
    void add_row(const T* source, int64_t tap_row, T* outputs) {
        const int64_t width = op_.x.extent[2], tiles = tiles_of_row<T>(width);
        for (int64_t group = 0; group < op_.groups; ++group) {
            const int64_t first = group * channels_.group_in;
            const T* const weights = weights_ + (tap_row * channels_.in + first) * run_;
            for (int64_t t = 0; t < tiles; ++t) {
                const int64_t x0 = width * t / tiles;
                const int pixels = static_cast<int>(width * (t + 1) / tiles - x0);
                multiply(source + x0 * channels_.in + first, pixels, weights);
                add(pixels, outputs + x0 * across_.stride * pixel_ + group * pitch_);
            }
        }
    }

    void multiply(const T* source, int pixels, const T* weights) {
        constexpr int64_t kCols = TileShape<T>::kCols;
        for (int64_t k = 0; k < channels_.group_in; k += kLongestSum) {
            const int64_t left = channels_.group_in - k, sum = left < kLongestSum ? left : kLongestSum;
            for (int64_t j = 0; j < run_; j += kCols)
                multiply_tile(pixels, static_cast<int>(run_ - j < kCols ? run_ - j : kCols), sum, source + k,
                              channels_.in, 1, weights + k * run_ + j, run_, stage_ + j, run_, k > 0);
        }
    }

    // Adds the staged products tap by tap, in whole vectors: what is beyond the channels of a pixel is never read.
    void add(int pixels, T* outputs) const {
        const int64_t step = across_.stride * pixel_;
        for (int64_t j = 0; j < across_.size; ++j) {
            T* const to = outputs + j * across_.dilation * pixel_;
            const T* const from = stage_ + j * channels_.group_out;
            for (int64_t c = 0; c < pitch_; c += Vec<T>::kSize)
                for (int p = 0; p < pixels; ++p) {
                    T* const at = to + p * step + c;
                    (Vec<T>::load(at) + Vec<T>::load(from + p * run_ + c)).store(at);
                }
        }
    }

    template <class Epilogue>
    void put(int64_t image, int64_t y, int64_t first_row, const Epilogue& epilogue) const {
        const TensorView<T>& out = op_.out;
        const int64_t width = out.extent[2], channels = channels_.group_out;
        for (int64_t group = 0; group < op_.groups; ++group) {
            T* const from = outputs_ + (y - first_row) * row_items_ + across_.before * pixel_ + group * pitch_;
            epilogue(Tile<T>{from, pixel_, 0, width, group * channels, channels});
            T* const to = out.data + image * out.stride[0] + y * out.stride[1] + group * channels * out.stride[3];
            for (int64_t x = 0; x < width; ++x)
                for (int64_t c = 0; c < channels; ++c) to[x * out.stride[2] + c * out.stride[3]] = from[x * pixel_ + c];
        }
    }

    const ops::Conv2dTranspose<T>& op_;
    Team& team_;
    TapAxis down_, across_;
    ChannelGroups channels_;
    int64_t run_;            // products of a source channel: the taps of a row and their outputs
    int64_t pitch_, pixel_;  // items from one group of outputs to the next, and from one pixel to the next
    int64_t row_items_;      // of a row of outputs
    Bands bands_;
    T *outputs_, *weights_, *stage_, *sources_;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
