// Philox4x32-10, a counter-based random number generator: a keyed bijection of 128-bit counters, so that element i
// of a stream is the same number on every device and for every number of threads.
// J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/macros.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

struct Philox {
    uint32_t word[4];

    // Four 32-bit words for counter (index, stream) under key `seed`.
    static STEEPEST_HD Philox at(uint64_t seed, uint64_t stream, uint64_t index) {
        uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
        uint32_t c0 = static_cast<uint32_t>(index), c1 = static_cast<uint32_t>(index >> 32);
        uint32_t c2 = static_cast<uint32_t>(stream), c3 = static_cast<uint32_t>(stream >> 32);
        for (int round = 0; round < 10; ++round) {
            const uint64_t p0 = uint64_t{0xD2511F53} * c0;
            const uint64_t p1 = uint64_t{0xCD9E8D57} * c2;
            c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ key0;
            c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ key1;
            c1 = static_cast<uint32_t>(p1);
            c3 = static_cast<uint32_t>(p0);
            key0 += 0x9E3779B9u;
            key1 += 0xBB67AE85u;
        }
        return {{c0, c1, c2, c3}};
    }

    // The i-th of two 64-bit words, low word first.
    STEEPEST_HD uint64_t bits64(int i) const { return word[2 * i] | (static_cast<uint64_t>(word[2 * i + 1]) << 32); }
};

// Uniform in [0, 1): multiples of 2^-24 and 2^-53, the finest grid that never rounds up to 1.
STEEPEST_HD float uniform_float(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }
STEEPEST_HD double uniform_double(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

// Numbers of type T that are uniform in [low, high).
template <class T>
struct UniformInterval {
    static constexpr int kPerCounter = sizeof(T) == 4 ? 4 : 2;  // numbers that one counter gives

    double low, width;
    T high, below;  // rounding low + width u to T may give high, which does not belong to the interval

    UniformInterval(double low_end, double high_end)
        : low(low_end),
          width(high_end - low_end),
          high(static_cast<T>(high_end)),
          below(std::nextafter(high, static_cast<T>(low_end))) {}

    // Number l of a counter.
    STEEPEST_HD T operator()(const Philox& words, int l) const {
        const double u = kPerCounter == 4 ? uniform_float(words.word[l]) : uniform_double(words.bits64(l & 1));
        const T number = static_cast<T>(low + width * u);
        return number == high ? below : number;
    }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
