// Random numbers from Philox4x32-10: item i depends on (seed, stream, i) alone.
#pragma once

#include <cmath>
#include <limits>

#include "ops/contract.h"

namespace steepest::ops {

// Uniform in [low, high): low + (high - low) u, with u on a grid of 2^-24 (float32) or 2^-53 (float64). If low and
// high are equal, all numbers are equal to low.
template <class T>
struct RandomUniform {
    static constexpr const char* kName = "random_uniform";
    VectorView<T> out;
    double low = 0, high = 1;
    uint64_t seed = 0, stream = 0;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kWrite, "out", out);
    }
    void check() const {
        const auto is_number = [](double bound) { return std::abs(bound) <= std::numeric_limits<T>::max(); };
        require(is_number(low) && is_number(high) && low <= high && std::isfinite(high - low), kName,
                "the interval is [", low, ", ", high, "); low, high and high - low must be finite, and low <= high");
    }
    double flops() const { return 20.0 * out.size; }
};

struct RandomBits {
    static constexpr const char* kName = "random_bits";
    VectorView<uint64_t> out;
    uint64_t seed = 0, stream = 0;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kWrite, "out", out);
    }
    void check() const {}
    double flops() const { return 40.0 * out.size; }
};

}  // namespace steepest::ops
