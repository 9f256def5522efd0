// Which items of an array share their statistics. An array of any number of axes, channels last, is a list of samples;
// each has `places` rows of `channels` items. The channels form groups of neighbours, and each (sample, group) has its
// own mean and deviation:
//     layer norm, RMS norm    a sample is one row, with one group
//     group norm              a sample is a sequence or an image, with any number of groups
//     batch norm              the whole array is one sample, and each channel a group
#pragma once

#include <cmath>
#include <cstdint>

#include "common/macros.h"

namespace steepest {

enum class Norm : int8_t { kLayer, kRms, kGroup, kBatch };

struct NormGroups {
    int64_t samples, places, channels, groups;

    STEEPEST_HD int64_t rows() const { return samples * places; }
    STEEPEST_HD int64_t width() const { return groups > 0 ? channels / groups : 0; }  // channels of a group
    STEEPEST_HD int64_t items() const { return places * width(); }                    // of a sample, in a group
    // The (sample, group) of an item, as a number.
    STEEPEST_HD int64_t group_of(int64_t row, int64_t channel) const {
        return row / places * groups + channel / width();
    }
};

// Number, mean, and sum of squared deviations of some items. Deviations from the mean of the items themselves lose
// nothing to an offset that all items share.
struct Moments {
    double count, mean, squares;
};

// The moments of both together (T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for computing
// sample variances", 1979).
STEEPEST_HD Moments merged(const Moments& a, const Moments& b) {
    const double count = a.count + b.count;
    if (count == 0) return a;
    const double delta = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
}

STEEPEST_HD double reciprocal_deviation(double variance, double epsilon) { return 1 / std::sqrt(variance + epsilon); }

// A running statistic after a batch.
template <class T>
STEEPEST_HD T moved(T running, double batch, double momentum) {
    return static_cast<T>((1 - momentum) * static_cast<double>(running) + momentum * batch);
}

}  // namespace steepest
