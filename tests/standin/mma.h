// The stand-in's form of device/mma.cuh: the last lane of a warp to arrive multiplies for all. Products are exact and
// added one by one in float32, rounded to nearest; tensor cores round towards zero.
#pragma once

#include "common/macros.h"
#include "standin/cuda.h"

namespace standin {

struct Fragments {
    float* d;
    const uint32_t *a, *b;
};

// D += A B from the registers of all lanes; `per_word` numbers lie in a register, `bits` wide each.
template <int K, int PerWord>
void multiply_fragments(void* const (&operands)[kLanes]) {
    constexpr int kHalf = K / 2;
    float a[16][K], b[K][8];
    const auto number = [](uint32_t word, int part) {
        // tf32 is the upper part of a float32; bfloat16 its upper half.
        return __uint_as_float(PerWord == 1 ? word & ~0x1fffu : part == 0 ? word << 16 : word & 0xffff0000u);
    };
    for (int lane = 0; lane < kLanes; ++lane) {
        const auto& f = *static_cast<const Fragments*>(operands[lane]);
        const int g = lane / 4, t = lane % 4 * PerWord;
        for (int p = 0; p < PerWord; ++p) {
            for (int r = 0; r < 4; ++r) a[g + r % 2 * 8][t + r / 2 * kHalf + p] = number(f.a[r], p);
            for (int r = 0; r < 2; ++r) b[t + r * kHalf + p][g] = number(f.b[r], p);
        }
    }
    for (int lane = 0; lane < kLanes; ++lane) {
        float* const d = static_cast<const Fragments*>(operands[lane])->d;
        for (int r = 0; r < 4; ++r)
            for (int k = 0; k < K; ++k) d[r] += a[lane / 4 + r / 2 * 8][k] * b[k][lane % 4 * 2 + r % 2];
    }
}

}  // namespace standin

namespace steepest {
inline namespace STEEPEST_TARGET {

inline void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                     const standin::Site& site = standin::Site::current()) {
    standin::Fragments mine{d, a, b};
    standin::collective(0xffffffffu, &mine, standin::multiply_fragments<8, 1>, false, site);
}

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                     const standin::Site& site = standin::Site::current()) {
    standin::Fragments mine{d, a, b};
    standin::collective(0xffffffffu, &mine, standin::multiply_fragments<16, 2>, false, site);
}

inline uint32_t convert_to_tf32(float x) {
    const uint32_t bits = __float_as_uint(x);
    return (bits + ((bits & 0x7f800000u) == 0x7f800000u ? 0 : 0x1000u)) & ~0x1fffu;
}

inline uint32_t pack_bf16(float low, float high) {
    const auto rounded = [](float x) -> uint32_t {
        const uint32_t bits = __float_as_uint(x);
        if (x != x) return 0x7fffu;
        return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    };
    return rounded(high) << 16 | rounded(low);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
