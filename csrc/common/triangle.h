// The items on and below the diagonal of a square, in the order of rows.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/macros.h"

namespace steepest {

// The number of these items in a square of `rows` rows.
STEEPEST_HD constexpr int64_t triangle_items(int64_t rows) { return rows * (rows + 1) / 2; }

// Row `down` and column `across` <= down of item number `item`.
STEEPEST_HD void triangle_item(int64_t item, int64_t& down, int64_t& across) {
    down = static_cast<int64_t>((std::sqrt(8.0 * static_cast<double>(item) + 1) - 1) / 2);
    while (triangle_items(down) > item) --down;
    while (triangle_items(down + 1) <= item) ++down;
    across = item - triangle_items(down);
}

}  // namespace steepest
