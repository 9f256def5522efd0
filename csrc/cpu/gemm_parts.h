// Products of float32 matrices on units for bfloat16 numbers. Each item is the sum of one or two bfloat16 parts, the
// second being the rounding error of the first, and the products of parts are summed in float32.
#pragma once

#include <cstdint>

#include "common/precision.h"
#include "common/views.h"
#include "cpu/bfloat16.h"
#include "cpu/team.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int kMostParts = 2;

// The number of parts with which an (m, k) by (k, n) product has the precision and is fast; 0 if it is faster in
// float32. It depends on the shapes alone, since it decides the result's last digits.
int parts_of(Precision precision, int64_t m, int64_t n, int64_t k);

// The packed parts of a block of each operand, for products k0 .. k0 + kn.
struct PartsLayout {
    int parts;
    int64_t depth;         // kn, rounded up to a multiple of kDepthStep
    int64_t right_panels;  // panels of the right operand

    PartsLayout(int parts, int64_t kn, int64_t cols)
        : parts(parts),
          depth((kn + kDepthStep - 1) / kDepthStep * kDepthStep),
          right_panels((cols + kPanelCols - 1) / kPanelCols) {}
    int64_t left_part() const { return kMostPairRows * depth; }
    int64_t panel() const { return kPanelCols * depth; }
    int64_t right_part() const { return right_panels * panel(); }
};

void pack_left_parts(const MatrixView<const float>& a, int64_t i0, int rows, int64_t k0, int64_t kn,
                     const PartsLayout& layout, uint16_t* packed);
void pack_right_parts(const MatrixView<const float>& b, int64_t k0, int64_t kn, Range cols, const PartsLayout& layout,
                      uint16_t* packed);

// The products of `rows` packed rows, from row i0 of a, and a packed panel, from column j0 of b, added to c or put
// there. Products of parts may have the form infinity times 0 where the product of the items is infinite: such items
// are computed anew.
void multiply_parts(const Bfloat16Unit& unit, const MatrixView<const float>& a, const MatrixView<const float>& b,
                    int64_t k0, int64_t kn, int64_t i0, int rows, int64_t j0, int cols, const PartsLayout& layout,
                    const uint16_t* left, const uint16_t* panel, float* c, int64_t c_row, bool accumulate);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
