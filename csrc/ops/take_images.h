// out[i] = the image number rows[start + i], converted to scale * x + offset and, if asked for, at random shifted or
// cropped, flipped, partly erased and mixed with the next image of the batch: gathers an augmented mini-batch.
// common/augmentation.h has the formulas.
#pragma once

#include "common/augmentation.h"
#include "ops/tensors.h"

namespace steepest::ops {

constexpr int kMostChannels = 16;  // with a scale or an offset of their own

// A number for each channel, or one for all.
template <class T>
struct ChannelNumbers {
    int64_t count = 1;
    T number[kMostChannels] = {};

    STEEPEST_HD T of(int64_t channel) const { return number[count == 1 ? 0 : channel]; }
};

template <class T>
struct TakeImages {
    static constexpr const char* kName = "take_images";
    static constexpr bool kMayFail = true;
    static constexpr int64_t kLargestSide = (int64_t{1} << 31) - 1;
    TensorView<const uint8_t> pixels;  // (n, h, w, c), or absent
    TensorView<const T> images;        // the same of numbers: one of the two is there
    IntegerVectorView rows;            // (m,)
    ScalarView<int64_t> start;
    TensorView<T> out;  // (batch, out_h, out_w, c), disjoint from all inputs
    ChannelNumbers<T> scale, offset;
    T fill = 0;  // of pixels outside the image and of the square that is cut out
    Augmentation rules;
    ScalarView<int64_t> stream;
    VectorView<T> mix_weights;  // (batch,): the weight of image i in row i; absent if nothing is mixed

    int64_t extent(int axis) const { return pixels ? pixels.extent[axis] : images.extent[axis]; }

    STEEPEST_HD bool mixes() const { return rules.mixup > 0; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "images", pixels), v(kRead, "images", images), v(kRead, "rows", rows), v(kRead, "start", start);
        v(kRead, "stream", stream), v(kWrite, "out", out), v(kWrite, "mix_weights", mix_weights);
    }

    void check() const {
        require(out.extent[0] <= rows.size, kName, "out has ", out.extent[0], " images, but there are only ", rows.size,
                " rows");
        const int64_t c = extent(3);
        const auto require_channels = [&](const char* what, const ChannelNumbers<T>& numbers) {
            require(numbers.count == 1 || numbers.count == c, kName, what, " has ", numbers.count,
                    " numbers, but the images have ", c, " channels");
        };
        require_channels("scale", scale), require_channels("offset", offset);
        require_side("shift", rules.shift_rows, 0), require_side("shift", rules.shift_columns, 0);
        require_side("cutout", rules.cutout, 0);
        require_side("crop", out.extent[1], 1), require_side("crop", out.extent[2], 1);
        require(extent(1) <= kLargestSide && extent(2) <= kLargestSide, kName, "images of ", extent(1), " x ",
                extent(2), " pixels are too large");
        const int64_t h = extent(1) + 2 * rules.shift_rows, w = extent(2) + 2 * rules.shift_columns;
        require(out.extent[1] <= h && out.extent[2] <= w, kName, "crop of ", out.extent[1], " x ", out.extent[2],
                " pixels does not fit into images of ", h, " x ", w, ", padding included");
        const bool needs_seed = rules.shift_rows > 0 || rules.shift_columns > 0 || rules.flips_columns ||
                                rules.flips_rows || rules.cutout > 0 || mixes();
        require(rules.is_random || !needs_seed, kName, "seed is required for shift, flip, cutout and mixup");
        require(static_cast<bool>(mix_weights) == mixes(), kName, "mix_weights is required with mixup, and only then");
        require(!mix_weights || mix_weights.size == out.extent[0], kName, "mix_weights has shape ",
                shape_of(mix_weights), ", but out has ", out.extent[0], " images");
    }

    double flops() const { return (mixes() ? 7.0 : 2.0) * out.size(); }
    double bytes() const { return (sizeof(T) + (mixes() ? 2.0 : 1.0) * (pixels ? 1 : sizeof(T))) * out.size(); }

  private:
    static void require_side(const char* what, int64_t side, int64_t least) {
        require(side >= least && side <= kLargestSide, kName, what, " is ", side, "; it must be in ", least,
                "..2**31-1");
    }
};

}  // namespace steepest::ops
