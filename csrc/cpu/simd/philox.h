// Philox4x32-10 (common/philox.h) for several counters at once, with words in the order of the items that use them.
//
// A counter fills one 64-bit lane of each of four vectors, with its words in the low halves: products of 32 bits by 32
// bits are then one instruction, and the high halves are ignored. The lanes hold the counters in such an order that
// interleaving the four vectors at the end puts all words in their places.
#pragma once

#include <cstdint>

#include "common/bernoulli.h"
#include "common/philox.h"
#include "cpu/simd/vec.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Two vectors of 32-bit words.
struct PhiloxWords {
    static constexpr int kSize = 2 * Vec<float>::kSize;

    // `items`, the q-th vector of items that the words belong to, with zeros where their words are below the threshold.
    template <class T>
    STEEPEST_HD Vec<T> zero_below(uint32_t threshold, int q, Vec<T> items) const;

    // The numbers in (0, 1) of the q-th vector of words; common/bernoulli.h has the formula.
    template <class T>
    STEEPEST_HD Vec<T> uniforms(int q) const;

#if defined(STEEPEST_SIMD_AVX512)
    STEEPEST_HD void store(uint32_t* to) const {
        for (int h = 0; h < 2; ++h) _mm512_storeu_si512(to + h * kSize / 2, half[h]);
    }

    __m512i half[2];
#elif defined(STEEPEST_SIMD_AVX2)
    STEEPEST_HD void store(uint32_t* to) const {
        for (int h = 0; h < 2; ++h) _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + h * kSize / 2), half[h]);
    }

    __m256i half[2];
#else
    STEEPEST_HD void store(uint32_t* to) const {
        for (int l = 0; l < kSize; ++l) to[l] = word[l];
    }

    uint32_t word[kSize];
#endif
};

#if defined(STEEPEST_SIMD_AVX512)

template <>
STEEPEST_HD Vec<float> PhiloxWords::zero_below(uint32_t threshold, int q, Vec<float> items) const {
    const __m512i bound = _mm512_set1_epi32(static_cast<int>(threshold));
    return _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(half[q], bound), items.v);
}
template <>
STEEPEST_HD Vec<double> PhiloxWords::zero_below(uint32_t threshold, int q, Vec<double> items) const {
    const __m512i bound = _mm512_set1_epi32(static_cast<int>(threshold));
    const unsigned kept = _mm512_cmpge_epu32_mask(half[q / 2], bound);
    return _mm512_maskz_mov_pd(static_cast<__mmask8>(kept >> (q % 2 * 8)), items.v);
}
STEEPEST_HD __m512i odd_high_bits(__m512i words) {
    return _mm512_or_si512(_mm512_srli_epi32(words, 8), _mm512_set1_epi32(1));
}
template <>
STEEPEST_HD Vec<float> PhiloxWords::uniforms(int q) const {
    return _mm512_mul_ps(_mm512_cvtepi32_ps(odd_high_bits(half[q])), _mm512_set1_ps(0x1p-24f));
}
template <>
STEEPEST_HD Vec<double> PhiloxWords::uniforms(int q) const {
    const __m512i bits = odd_high_bits(half[q / 2]);
    const __m256i eight = q % 2 ? _mm512_extracti64x4_epi64(bits, 1) : _mm512_castsi512_si256(bits);
    return _mm512_mul_pd(_mm512_cvtepi32_pd(eight), _mm512_set1_pd(0x1p-24));
}

#elif defined(STEEPEST_SIMD_AVX2)

// AVX2 has no comparison of unsigned integers: w >= bound if their maximum is w.
STEEPEST_HD __m256i at_least(__m256i words, uint32_t bound) {
    return _mm256_cmpeq_epi32(_mm256_max_epu32(words, _mm256_set1_epi32(static_cast<int>(bound))), words);
}
template <>
STEEPEST_HD Vec<float> PhiloxWords::zero_below(uint32_t threshold, int q, Vec<float> items) const {
    return _mm256_and_ps(_mm256_castsi256_ps(at_least(half[q], threshold)), items.v);
}
template <>
STEEPEST_HD Vec<double> PhiloxWords::zero_below(uint32_t threshold, int q, Vec<double> items) const {
    const __m256i kept = at_least(half[q / 2], threshold);
    const __m128i four = q % 2 ? _mm256_extracti128_si256(kept, 1) : _mm256_castsi256_si128(kept);
    return _mm256_and_pd(_mm256_castsi256_pd(_mm256_cvtepi32_epi64(four)), items.v);
}
STEEPEST_HD __m256i odd_high_bits(__m256i words) {
    return _mm256_or_si256(_mm256_srli_epi32(words, 8), _mm256_set1_epi32(1));
}
template <>
STEEPEST_HD Vec<float> PhiloxWords::uniforms(int q) const {
    return _mm256_mul_ps(_mm256_cvtepi32_ps(odd_high_bits(half[q])), _mm256_set1_ps(0x1p-24f));
}
template <>
STEEPEST_HD Vec<double> PhiloxWords::uniforms(int q) const {
    const __m256i bits = odd_high_bits(half[q / 2]);
    const __m128i four = q % 2 ? _mm256_extracti128_si256(bits, 1) : _mm256_castsi256_si128(bits);
    return _mm256_mul_pd(_mm256_cvtepi32_pd(four), _mm256_set1_pd(0x1p-24));
}

#else

template <class T>
STEEPEST_HD Vec<T> PhiloxWords::zero_below(uint32_t threshold, int q, Vec<T> items) const {
    for (int l = 0; l < Vec<T>::kSize; ++l)
        if (word[q * Vec<T>::kSize + l] < threshold) items.lane[l] = T(0);
    return items;
}
template <class T>
STEEPEST_HD Vec<T> PhiloxWords::uniforms(int q) const {
    Vec<T> numbers(0);
    for (int l = 0; l < Vec<T>::kSize; ++l) numbers.lane[l] = open_uniform<T>(word[q * Vec<T>::kSize + l]);
    return numbers;
}

#endif

// The words of one seed and stream.
class PhiloxStream {
  public:
    STEEPEST_HD PhiloxStream(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {
        for (uint32_t round = 0; round < kRounds; ++round) {
            key_[round][0] = static_cast<uint32_t>(seed) + round * 0x9E3779B9u;
            key_[round][1] = static_cast<uint32_t>(seed >> 32) + round * 0xBB67AE85u;
        }
    }

    // Words first .. first + kSize - 1, where first is a multiple of kSize.
    STEEPEST_HD PhiloxWords words(int64_t first) const {
        const auto counter = static_cast<uint64_t>(first / 4);
#if defined(STEEPEST_SIMD_AVX512)
        const __m512i index = _mm512_add_epi64(_mm512_set1_epi64(static_cast<int64_t>(counter)),
                                               _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0));
        __m512i c0 = index, c1 = _mm512_srli_epi64(index, 32);
        __m512i c2 = _mm512_set1_epi64(static_cast<int64_t>(stream_)), c3 = _mm512_srli_epi64(c2, 32);
        const __m512i factor0 = _mm512_set1_epi64(0xD2511F53), factor1 = _mm512_set1_epi64(0xCD9E8D57);
#pragma GCC unroll 10
        for (int round = 0; round < kRounds; ++round) {
            const __m512i p0 = _mm512_mul_epu32(c0, factor0), p1 = _mm512_mul_epu32(c2, factor1);
            const __m512i key0 = _mm512_set1_epi64(key_[round][0]), key1 = _mm512_set1_epi64(key_[round][1]);
            constexpr int kXor3 = 0x96;
            c0 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), c1, key0, kXor3), c1 = p1;
            c2 = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), c3, key1, kXor3), c3 = p0;
        }
        const __m512i low = _mm512_mask_blend_epi32(0xAAAA, c0, _mm512_slli_epi64(c1, 32));
        const __m512i high = _mm512_mask_blend_epi32(0xAAAA, c2, _mm512_slli_epi64(c3, 32));
        return {{_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high)}};
#elif defined(STEEPEST_SIMD_AVX2)
        const __m256i index =
            _mm256_add_epi64(_mm256_set1_epi64x(static_cast<int64_t>(counter)), _mm256_set_epi64x(3, 1, 2, 0));
        __m256i c0 = index, c1 = _mm256_srli_epi64(index, 32);
        __m256i c2 = _mm256_set1_epi64x(static_cast<int64_t>(stream_)), c3 = _mm256_srli_epi64(c2, 32);
        const __m256i factor0 = _mm256_set1_epi64x(0xD2511F53), factor1 = _mm256_set1_epi64x(0xCD9E8D57);
#pragma GCC unroll 10
        for (int round = 0; round < kRounds; ++round) {
            const __m256i p0 = _mm256_mul_epu32(c0, factor0), p1 = _mm256_mul_epu32(c2, factor1);
            const __m256i key0 = _mm256_set1_epi64x(key_[round][0]), key1 = _mm256_set1_epi64x(key_[round][1]);
            c0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), c1), key0), c1 = p1;
            c2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), c3), key1), c3 = p0;
        }
        const __m256i low = _mm256_blend_epi32(c0, _mm256_slli_epi64(c1, 32), 0xAA);
        const __m256i high = _mm256_blend_epi32(c2, _mm256_slli_epi64(c3, 32), 0xAA);
        return {{_mm256_unpacklo_epi64(low, high), _mm256_unpackhi_epi64(low, high)}};
#else
        PhiloxWords words;
        for (int w = 0; w < PhiloxWords::kSize; w += 4) {
            const Philox four = Philox::at(seed_, stream_, counter + static_cast<uint64_t>(w / 4));
            for (int l = 0; l < 4; ++l) words.word[w + l] = four.word[l];
        }
        return words;
#endif
    }

  private:
    static constexpr int kRounds = 10;
    uint64_t seed_, stream_;
    int64_t key_[kRounds][2];
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
