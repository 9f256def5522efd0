#include "cpu/gemm_parts.h"

#include <bit>
#include <cmath>

#include "cpu/rows.h"
#include "cpu/simd/vec.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kSize = Vec<float>::kSize;
constexpr int64_t kChunk = 64;  // products of a left operand that are brought into rows at a time

// The bits of x rounded to bfloat16, ties to even, in the upper half. NaN keeps a fraction bit there.
STEEPEST_HD uint32_t rounded(uint32_t bits) {
    const uint32_t nearest = bits + 0x7FFF + (bits >> 16 & 1);
    return (bits & 0x7FFFFFFF) > 0x7F800000 ? bits | 0x00400000 : nearest;
}

// The same, but a finite number does not become infinite.
STEEPEST_HD uint32_t rounded_finite(uint32_t bits) {
    const uint32_t nearest = rounded(bits);
    const bool overflows = (nearest & 0x7FFFFFFF) >= 0x7F800000 && (bits & 0x7FFFFFFF) < 0x7F800000;
    return overflows ? bits : nearest;
}

// What the first part leaves, or 0 if it is not finite.
STEEPEST_HD float remainder_of(float x, uint32_t first) {
    return (first & 0x7F800000) == 0x7F800000 ? 0 : x - std::bit_cast<float>(first & 0xFFFF0000);
}

struct OnePart {
    static constexpr int kParts = 1;
    static STEEPEST_HD void split(float x, uint32_t (&part)[1]) { part[0] = rounded(std::bit_cast<uint32_t>(x)); }
};

struct TwoParts {
    static constexpr int kParts = 2;
    static STEEPEST_HD void split(float x, uint32_t (&part)[2]) {
        part[0] = rounded_finite(std::bit_cast<uint32_t>(x));
        part[1] = rounded(std::bit_cast<uint32_t>(remainder_of(x, part[0])));
    }
};

template <class Parts>
void split_row(const float* from, int64_t n, uint16_t* to, int64_t part_stride) {
    for (int64_t i = 0; i < n; ++i) {
        uint32_t part[Parts::kParts];
        Parts::split(from[i], part);
        for (int q = 0; q < Parts::kParts; ++q) to[q * part_stride + i] = static_cast<uint16_t>(part[q] >> 16);
    }
}

// Two rows of kPanelCols items, as pairs.
template <class Parts>
void split_pairs(const float* first, const float* second, uint16_t* to, int64_t part_stride) {
    uint32_t pairs[Parts::kParts][kPanelCols];
    for (int j = 0; j < kPanelCols; ++j) {
        uint32_t low[Parts::kParts], high[Parts::kParts];
        Parts::split(first[j], low), Parts::split(second[j], high);
        for (int q = 0; q < Parts::kParts; ++q) pairs[q][j] = (high[q] & 0xFFFF0000) | low[q] >> 16;
    }
    for (int q = 0; q < Parts::kParts; ++q) __builtin_memcpy(to + q * part_stride, pairs[q], sizeof(pairs[q]));
}

// Copies the transpose of `rows` contiguous items in each of `products` columns, `stride` apart.
void copy_transposed(const float* from, int64_t stride, int rows, int products, float* to, int64_t to_stride) {
    for (int i = 0; i < rows; i += kSize) {
        const int lanes = rows - i < kSize ? rows - i : kSize;
        for (int p = 0; p < products; p += kSize) {
            const int columns = products - p < kSize ? products - p : kSize;
            Vec<float> square[kSize];
            for (int l = 0; l < kSize; ++l)
                square[l] = l < columns ? Vec<float>::load(from + (p + l) * stride + i, lanes) : Vec<float>(0);
            transpose(square);
            for (int l = 0; l < lanes; ++l) square[l].store(to + (i + l) * to_stride + p, columns);
        }
    }
}

template <class Parts>
void pack_left(const MatrixView<const float>& a, int64_t i0, int rows, int64_t k0, int64_t kn,
               const PartsLayout& layout, uint16_t* packed) {
    const int64_t depth = layout.depth, part = layout.left_part();
    for (int i = 0; i < rows; ++i)
        for (int q = 0; q < Parts::kParts; ++q)
            for (int64_t p = kn; p < depth; ++p) packed[q * part + i * depth + p] = 0;
    if (a.col_stride == 1) {
        for (int i = 0; i < rows; ++i) split_row<Parts>(&a(i0 + i, k0), kn, packed + i * depth, part);
        return;
    }
    float chunk[kMostPairRows * kChunk];
    for (int64_t p0 = 0; p0 < kn; p0 += kChunk) {
        const int products = static_cast<int>(kn - p0 < kChunk ? kn - p0 : kChunk);
        if (a.row_stride == 1) {
            copy_transposed(&a(i0, k0 + p0), a.col_stride, rows, products, chunk, kChunk);
        } else {
            for (int i = 0; i < rows; ++i)
                for (int p = 0; p < products; ++p) chunk[i * kChunk + p] = a(i0 + i, k0 + p0 + p);
        }
        for (int i = 0; i < rows; ++i) split_row<Parts>(chunk + i * kChunk, products, packed + i * depth + p0, part);
    }
}

// Brings products p0 .. p0 + products of the columns of a panel into rows.
void copy_panel(const MatrixView<const float>& b, int64_t p0, int products, int64_t j0, int width, float* rows) {
    if (products <= 0) return;
    const float* const from = &b(p0, j0);
    if (b.row_stride == 1 && b.col_stride != 1)
        return copy_transposed(from, b.col_stride, products, width, rows, kPanelCols);
    for (int p = 0; p < products; ++p)
        for (int j = 0; j < width; ++j) rows[p * kPanelCols + j] = from[p * b.row_stride + j * b.col_stride];
}

template <class Parts>
void pack_right(const MatrixView<const float>& b, int64_t k0, int64_t kn, Range cols, const PartsLayout& layout,
                uint16_t* packed) {
    static_assert(kSize % 2 == 0 && kDepthStep % kSize == 0 && kPanelCols % kSize == 0);
    static constexpr float kZeros[kPanelCols] = {};
    for (int64_t j0 = cols.begin; j0 < cols.end; j0 += kPanelCols, packed += layout.panel()) {
        const int width = static_cast<int>(cols.end - j0 < kPanelCols ? cols.end - j0 : kPanelCols);
        const bool in_place = b.col_stride == 1 && width == kPanelCols;
        float rows[kSize * kPanelCols] = {};  // columns beyond the width stay zero
        for (int64_t p0 = 0; p0 < layout.depth; p0 += kSize) {
            const int products = static_cast<int>(kn - p0 < kSize ? kn - p0 : kSize);  // none or less beyond the end
            if (!in_place) copy_panel(b, k0 + p0, products, j0, width, rows);
            const auto row = [&](int p) {
                if (p >= products) return kZeros;
                return in_place ? &b(k0 + p0 + p, j0) : rows + p * kPanelCols;
            };
            for (int p = 0; p < kSize; p += 2)
                split_pairs<Parts>(row(p), row(p + 1), packed + (p0 + p) * kPanelCols, layout.right_part());
        }
    }
}

// The products of the items themselves, for those sums that are not numbers.
void sum_anew(const MatrixView<const float>& a, const MatrixView<const float>& b, int64_t k0, int64_t kn, int64_t i0,
              int rows, int64_t j0, int cols, float* sums) {
    for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < cols; ++j) {
            float& sum = sums[i * kPanelCols + j];
            if (!std::isnan(sum)) continue;
            sum = 0;
            for (int64_t p = k0; p < k0 + kn; ++p) sum = std::fma(a(i0 + i, p), b(p, j0 + j), sum);
        }
    }
}

}  // namespace

int parts_of(Precision precision, int64_t m, int64_t n, int64_t k) {
    // Below that the operands' conversion takes longer than it saves.
    constexpr int64_t kLeastProducts = 1 << 18;
    if (precision == Precision::kFloat32 || m < 32 || n < 32 || k < 64 || m * n * k < kLeastProducts) return 0;
    const Bfloat16Unit* const unit = bfloat16_unit();
    if (!unit) return 0;
    if (precision == Precision::kBfloat16) return 1;
    return unit->pays_for_three ? 2 : 0;
}

void pack_left_parts(const MatrixView<const float>& a, int64_t i0, int rows, int64_t k0, int64_t kn,
                     const PartsLayout& layout, uint16_t* packed) {
    const auto pack = layout.parts == 1 ? &pack_left<OnePart> : &pack_left<TwoParts>;
    pack(a, i0, rows, k0, kn, layout, packed);
}

void pack_right_parts(const MatrixView<const float>& b, int64_t k0, int64_t kn, Range cols, const PartsLayout& layout,
                      uint16_t* packed) {
    const auto pack = layout.parts == 1 ? &pack_right<OnePart> : &pack_right<TwoParts>;
    pack(b, k0, kn, cols, layout, packed);
}

void multiply_parts(const Bfloat16Unit& unit, const MatrixView<const float>& a, const MatrixView<const float>& b,
                    int64_t k0, int64_t kn, int64_t i0, int rows, int64_t j0, int cols, const PartsLayout& layout,
                    const uint16_t* left, const uint16_t* panel, float* c, int64_t c_row, bool accumulate) {
    alignas(64) float sums[kMostPairRows * kPanelCols];
    // From the smallest products to the largest; the product of the smallest parts is below the rounding of the sum.
    bool is_first = true;
    for (int order = layout.parts - 1; order >= 0; --order) {
        for (int q = 0; q <= order; ++q, is_first = false)
            unit.multiply(rows, layout.depth, left + q * layout.left_part(), panel + (order - q) * layout.right_part(),
                          sums, !is_first);
    }
    if (layout.parts > 1) sum_anew(a, b, k0, kn, i0, rows, j0, cols, sums);
    for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < cols; j += kSize) {
            const int lanes = cols - j < kSize ? cols - j : kSize;
            const Vec<float> sum = Vec<float>::load(sums + i * kPanelCols + j);
            float* const at = c + i * c_row + j;
            (accumulate ? sum + Vec<float>::load(at, lanes) : sum).store(at, lanes);
        }
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
