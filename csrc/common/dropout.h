// Dropout's formula: an item is kept if its 32-bit random word is at least rate 2^32, and scaled by 1 / (1 - rate). All
// other items become zero, even infinite ones and NaN.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
struct DropoutRule {
    uint32_t threshold;
    T scale;

    // Requires 0 <= rate < 1, so that rate 2^32 is below 2^32.
    explicit DropoutRule(double rate)
        : threshold(static_cast<uint32_t>(rate * 0x1p32)), scale(static_cast<T>(1 / (1 - rate))) {}

    STEEPEST_HD T operator()(T x, uint32_t word) const { return word >= threshold ? scale * x : T(0); }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
