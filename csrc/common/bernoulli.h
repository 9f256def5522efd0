// Draws of labels that are 1 with a probability p: the label is 1 if p is above a number u that is uniform in (0, 1).
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The number of a 32-bit random word: the odd multiples of 2^-24, which both dtypes represent. It is never 0 or 1, so
// that a label of probability 0 or 1 is certain.
template <class T>
STEEPEST_HD T open_uniform(uint32_t word) {
    return static_cast<T>(static_cast<int32_t>(word >> 8 | 1)) * T(0x1p-24);
}

// NaN gives NaN, so that a mean that is no number is not taken for a label.
template <class V>
STEEPEST_HD V bernoulli_draw(V p, V u) {
    return select(p > u, V(1), V(0) * p);
}

// The words of row i of a matrix begin with Philox counter i ceil(cols / 4), so that every row begins a counter.
STEEPEST_HD int64_t first_counter(int64_t i, int64_t cols) { return i * ((cols + 3) / 4); }

}  // namespace STEEPEST_TARGET
}  // namespace steepest
