// Matrix products of one warp on tensor cores, D += A B with A 16 x k and B k x 8. A lane holds these items, with
// g = lane / 4 and t = lane % 4 ("Matrix fragments for mma" in NVIDIA's PTX ISA manual):
//     d[0..3]         (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
//     tf32,  k = 8    a[0..3]: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4);  b[0..1]: (t, g), (t + 4, g)
//     bf16,  k = 16   two neighbours along k in a word, the lower in the lower half:
//                     a[0..3]: (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8);  b[0..1]: (2t, g), (2t + 8, g)
#pragma once

#include "cuda/device/platform.cuh"

#if defined(STEEPEST_STANDIN)
#include "standin/mma.h"
#else

namespace steepest {
inline namespace STEEPEST_TARGET {

__device__ __forceinline__ void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// x rounded to 10 fraction bits, ties away from zero, as tf32 bits. Infinity and NaN only lose their lower bits.
__device__ __forceinline__ uint32_t convert_to_tf32(float x) {
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

// Two numbers rounded to bfloat16, ties to even, in one word.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
    uint32_t word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

#endif

namespace steepest {
inline namespace STEEPEST_TARGET {

// x rounded to tf32. The sum x + 0 turns NaN into a quiet NaN, which has a high fraction bit set. Another NaN could
// lose all its fraction bits and become infinite.
__device__ __forceinline__ uint32_t round_to_tf32(float x) { return convert_to_tf32(x + 0.0f); }

}  // namespace STEEPEST_TARGET
}  // namespace steepest
