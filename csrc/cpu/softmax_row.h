// The part that softmax and its losses share: a row's maximum m, and the exponentials exp(x_j - m) with their sum.
// Subtracting the maximum keeps every exponential in [0, 1].
#pragma once

#include "cpu/rows.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
STEEPEST_HD T maximum_of_row(const T* x, int64_t n) {
    using V = Vec<T>;
    const V lowest(-__builtin_inf());
    if (n <= V::kSize) return reduce_max(V::load(x, static_cast<int>(n), lowest));
    V m0 = lowest, m1 = lowest, m2 = lowest, m3 = lowest;
    int64_t j = 0;
    for (; j + 4 * V::kSize <= n; j += 4 * V::kSize) {
        m0 = max(m0, V::load(x + j)), m1 = max(m1, V::load(x + j + V::kSize));
        m2 = max(m2, V::load(x + j + 2 * V::kSize)), m3 = max(m3, V::load(x + j + 3 * V::kSize));
    }
    for (; j + V::kSize <= n; j += V::kSize) m0 = max(m0, V::load(x + j));
    if (j < n) m1 = max(m1, V::load(x + j, static_cast<int>(n - j), lowest));
    return reduce_max(max(max(m0, m1), max(m2, m3)));
}

// out_j = exp(x_j - maximum), in place or not; returns their sum. A few vectors are summed in T, and their sums in
// float64: a running sum in T would lose digits with every item.
template <class T>
STEEPEST_HD T exponentiate_row(const T* x, T maximum, T* out, int64_t n) {
    using V = Vec<T>;
    const V lowest(-__builtin_inf()), shift(maximum);
    if (n <= V::kSize) {
        const int lanes = static_cast<int>(n);
        const V e = exp_nonpositive(V::load(x, lanes, lowest) - shift);
        e.store(out, lanes);
        return reduce_add(e);  // the lanes beyond n are exp(-inf) = 0
    }
    V s0(0), s1(0);
    double total = 0;
    int64_t j = 0;
    for (; j + 2 * V::kSize <= n; j += 2 * V::kSize) {
        if (j % (32 * V::kSize) == 0) total += reduce_add_wide(s0 + s1), s0 = s1 = V(0);
        const V e0 = exp_nonpositive(V::load(x + j) - shift), e1 = exp_nonpositive(V::load(x + j + V::kSize) - shift);
        e0.store(out + j), e1.store(out + j + V::kSize);
        s0 = s0 + e0, s1 = s1 + e1;
    }
    for (; j < n; j += V::kSize) {
        const int lanes = static_cast<int>(n - j < V::kSize ? n - j : V::kSize);
        const V e = exp_nonpositive(V::load(x + j, lanes, lowest) - shift);
        e.store(out + j, lanes);
        s0 = s0 + e;
    }
    return static_cast<T>(total + reduce_add_wide(s0 + s1));
}

// log(s) for a few rows at once; s >= 1 because the maximum itself contributes 1 (or s is NaN).
template <class T>
STEEPEST_HD void log_of_sums(T* s, int n) {
    using V = Vec<T>;
    for (int i = 0; i < n; i += V::kSize) {
        const V sums = V::load(s + i);
        select(sums == sums, log_positive(sums), sums).store(s + i);
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
