#pragma once

#include "cpu/simd/vec.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Sums of vectors, accumulated in float64.
template <class T>
struct WideSum;

template <>
struct WideSum<double> {
    Vec<double> sum{0};

    STEEPEST_HD void add(Vec<double> v) { sum = sum + v; }
    STEEPEST_HD double total() const { return reduce_add(sum); }
};

template <>
struct WideSum<float> {
    Vec<double> low{0}, high{0};

    STEEPEST_HD void add(Vec<float> v) { low = low + widen_low(v), high = high + widen_high(v); }
    STEEPEST_HD double total() const { return reduce_add(low + high); }
};

// sums[l] += v[l] for the first `lanes` lanes.
STEEPEST_HD void add_to(double* sums, Vec<double> v, int lanes) {
    (Vec<double>::load(sums, lanes) + v).store(sums, lanes);
}
STEEPEST_HD void add_to(double* sums, Vec<float> v, int lanes) {
    constexpr int kHalf = Vec<double>::kSize;
    add_to(sums, widen_low(v), lanes < kHalf ? lanes : kHalf);
    if (lanes > kHalf) add_to(sums + kHalf, widen_high(v), lanes - kHalf);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
