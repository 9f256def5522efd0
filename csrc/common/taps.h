// The window of a convolution: the places (taps) that it reads for each output.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace steepest {

// One axis of a window and of how it slides. Tap i of output o reads item o * stride - before + i * dilation; items
// outside of the image are zeros.
struct TapAxis {
    int64_t size = 1, stride = 1, before = 0, after = 0, dilation = 1;

    STEEPEST_HD int64_t extent() const { return (size - 1) * dilation + 1; }
    STEEPEST_HD int64_t first(int64_t output) const { return output * stride - before; }
    // The number of places for the window along an axis of n items.
    STEEPEST_HD int64_t outputs(int64_t n) const {
        const int64_t room = n + before + after - extent();
        return room < 0 ? 0 : room / stride + 1;
    }
};

struct Taps {
    TapAxis rows, columns;

    STEEPEST_HD int64_t taps() const { return rows.size * columns.size; }
};

}  // namespace steepest
