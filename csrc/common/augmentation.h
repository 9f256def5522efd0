// What random augmentation draws for each image of a mini-batch. The numbers of an image depend on the seed, the stream
// and its position in the order of the rows alone, and each number has a Philox counter and word of its own.
#pragma once

#include <cmath>

#include "common/philox.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The rules of a mini-batch, apart from the shapes of its images.
struct Augmentation {
    int64_t shift_rows = 0, shift_columns = 0;  // the padding on each side, within which the window is drawn
    bool flips_columns = false, flips_rows = false;
    int64_t cutout = 0;  // side of the square, in pixels
    double mixup = 0;    // alpha of the beta distribution of the mixing weights; 0 for none
    bool is_random = false;
    uint64_t seed = 0;
};

struct ImageShape {
    int64_t rows, columns;
};

// Where the pixels of an image of the result come from: the window's place in the image, which may begin before it or
// end behind it, then its flips, then the rectangle that is cut out of the result.
struct ImagePlacement {
    int64_t top, left;
    bool flips_rows, flips_columns;
    int64_t cut_top, cut_bottom, cut_left, cut_right;

    STEEPEST_HD bool cuts_row(int64_t y) const { return y >= cut_top && y < cut_bottom; }
};

// The counters of an image, by what they are for.
enum ImageCounter : uint8_t { kWindowCounter, kCutoutCounter, kMixingCounter, kImageCounters = 4 };

STEEPEST_HD Philox words_of_image(const Augmentation& rules, int64_t stream, int64_t position, ImageCounter counter) {
    return Philox::at(rules.seed, static_cast<uint64_t>(stream),
                      static_cast<uint64_t>(position) * kImageCounters + counter);
}

// Uniform in 0 .. n - 1, for n <= 2^32: the probabilities differ by at most 2^-32.
STEEPEST_HD int64_t uniform_below(uint32_t word, int64_t n) {
    return static_cast<int64_t>((static_cast<uint64_t>(word) * static_cast<uint64_t>(n)) >> 32);
}

STEEPEST_HD int64_t clipped(int64_t x, int64_t high) { return x < 0 ? 0 : x > high ? high : x; }

// The placement of the image at a position of the order. Without random numbers the window is in the middle.
STEEPEST_HD ImagePlacement place_image(const Augmentation& rules, int64_t stream, int64_t position, ImageShape image,
                                       ImageShape out) {
    ImagePlacement at{(image.rows - out.rows) / 2, (image.columns - out.columns) / 2, false, false, 0, 0, 0, 0};
    if (!rules.is_random) return at;
    const Philox window = words_of_image(rules, stream, position, kWindowCounter);
    const int64_t tops = image.rows + 2 * rules.shift_rows - out.rows + 1;
    const int64_t lefts = image.columns + 2 * rules.shift_columns - out.columns + 1;
    at.top = uniform_below(window.word[0], tops) - rules.shift_rows;
    at.left = uniform_below(window.word[1], lefts) - rules.shift_columns;
    at.flips_columns = rules.flips_columns && window.word[2] >> 31 != 0;
    at.flips_rows = rules.flips_rows && window.word[3] >> 31 != 0;
    if (rules.cutout == 0) return at;
    // The square around a pixel of the result, clipped (T. DeVries, G. Taylor, "Improved regularization of convolutional
    // neural networks with cutout", 2017).
    const Philox centre = words_of_image(rules, stream, position, kCutoutCounter);
    const int64_t top = uniform_below(centre.word[0], out.rows) - rules.cutout / 2;
    const int64_t left = uniform_below(centre.word[1], out.columns) - rules.cutout / 2;
    at.cut_top = clipped(top, out.rows), at.cut_bottom = clipped(top + rules.cutout, out.rows);
    at.cut_left = clipped(left, out.columns), at.cut_right = clipped(left + rules.cutout, out.columns);
    return at;
}

// cos(pi/2 x) for 0 <= x <= 1 within 3e-16, by Taylor's series, with the same bits on every device.
STEEPEST_HD double cos_of_quarter(double x) {
    constexpr double kHalfPi = 1.57079632679489661923;
    const double square = (kHalfPi * x) * (kHalfPi * x);
    double sum = 1;
    for (int k = 24; k >= 2; k -= 2) sum = 1 - square / (k * (k - 1.0)) * sum;
    return sum;
}

// Beta(alpha, alpha) from two uniform numbers, without rejection: 1/2 + t / (2 sqrt(1 + t²)), where t sqrt(2 alpha) =
// sqrt(2 alpha (u^(-1/alpha) - 1)) cos(2 pi v) has Student's distribution with 2 alpha degrees of freedom (R. Bailey,
// "Polar generation of random variates with the t-distribution", Mathematics of Computation 62, 1994; L. Devroye,
// "Random variate generation in one line of code", 1996). A random sign makes up for the other quarters of the cosine.
STEEPEST_HD double symmetric_beta(double alpha, uint64_t u_bits, uint64_t v_bits) {
    const double u = (static_cast<double>(u_bits >> 12) + 0.5) * 0x1p-52;
    const double v = (static_cast<double>(v_bits >> 12) + 0.5) * 0x1p-52;
    const double cosine = cos_of_quarter(v);
    const double exponent = -std::log(u) / alpha;
    // Clipped, so that no infinity meets a zero: beyond, the weights are 0 and 1 in any case.
    const double t_square = std::expm1(exponent < 700 ? exponent : 700) * (cosine * cosine);
    const double root = std::sqrt(1 + t_square);
    const double smaller = 0.5 / (root * (root + std::sqrt(t_square)));  // 1/2 - t / (2 sqrt(1 + t²)), not cancelled
    return (v_bits & 1) != 0 ? smaller : 1 - smaller;
}

// The weight of an image in its mixture with the next one (H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: beyond
// empirical risk minimization", ICLR 2018), on a grid of 2^-24: both weights are then exact in float32, and rounding
// errors of log and expm1, which differ between devices, almost never change them.
STEEPEST_HD double mixing_weight(const Augmentation& rules, int64_t stream, int64_t position) {
    const Philox words = words_of_image(rules, stream, position, kMixingCounter);
    return std::floor(symmetric_beta(rules.mixup, words.bits64(0), words.bits64(1)) * 0x1p24 + 0.5) * 0x1p-24;
}

// The number that a pixel becomes, and its mixture with another; products and sums are rounded one by one.
template <class V>
STEEPEST_HD V converted(V x, V scale, V offset) {
    return x * scale + offset;
}
template <class V>
STEEPEST_HD V mixed(V own, V other, V own_weight, V other_weight) {
    return own * own_weight + other * other_weight;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
