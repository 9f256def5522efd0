// Lines: the axes of operands of products that are no matrices in memory, such as the windows over an image.
//
// Number n of a line has three digits, in mixed radix. Each digit moves by a constant step through the operand. The
// places of a window are the digits image, row and column; its taps are the digits tap down, tap across and channel.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// A pixel: items behind the first of its array, and its row and column, which are small: ops::kLongestAxis.
struct alignas(16) Spot {
    int64_t offset = 0;
    int32_t row = 0, column = 0;

    STEEPEST_HD friend Spot operator+(const Spot& a, const Spot& b) {
        return {a.offset + b.offset, a.row + b.row, a.column + b.column};
    }
    STEEPEST_HD friend Spot operator-(const Spot& a, const Spot& b) {
        return {a.offset - b.offset, a.row - b.row, a.column - b.column};
    }
    STEEPEST_HD friend Spot operator*(int64_t n, const Spot& a) {
        const auto small = static_cast<int32_t>(n);  // unless row and column are zero
        return {n * a.offset, small * a.row, small * a.column};
    }
};

// Where a number leads, with its last two digits; a walk needs no more of them.
template <class Place>
struct Point {
    Place place;
    int32_t middle, last;
};

// A Place is a Spot or, where no pixel has to be within an image, a number of items.
template <class Place>
struct Line {
    int64_t extent[3] = {1, 1, 1};
    Place start{}, step[3]{};

    STEEPEST_HD int64_t size() const { return extent[0] * extent[1] * extent[2]; }
    STEEPEST_HD Point<Place> at(int64_t n) const {
        if (size() == 0) return {start, 0, 0};
        const int64_t above = n / extent[2], last = n - above * extent[2];
        const int64_t first = above / extent[1], middle = above - first * extent[1];
        return {start + first * step[0] + middle * step[1] + last * step[2], static_cast<int32_t>(middle),
                static_cast<int32_t>(last)};
    }
};

// A walk along a line in equal steps, without a division at each.
template <class Place>
struct Walking {
    int32_t middle, last;                // digits of a step
    int32_t middle_extent, last_extent;  // where these digits carry
    Place step, middle_carry, last_carry;

    Walking() = default;
    STEEPEST_HD Walking(const Line<Place>& line, int64_t numbers) {
        const Point<Place> next = line.at(numbers);
        middle = next.middle, last = next.last, step = next.place - line.start;
        middle_extent = static_cast<int32_t>(line.extent[1]), last_extent = static_cast<int32_t>(line.extent[2]);
        middle_carry = line.step[0] - middle_extent * line.step[1];
        last_carry = line.step[1] - last_extent * line.step[2];
    }

    STEEPEST_HD void advance(Point<Place>& point) const {
        point.place = point.place + step;
        point.middle += middle, point.last += last;
        if (point.last >= last_extent) {
            point.last -= last_extent, ++point.middle;
            point.place = point.place + last_carry;
        }
        if (point.middle >= middle_extent) {
            point.middle -= middle_extent;
            point.place = point.place + middle_carry;
        }
    }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
