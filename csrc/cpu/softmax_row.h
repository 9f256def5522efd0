// The part that softmax and its losses share: a row's maximum m and sum s = sum_j exp(x_j - m), with the exponentials
// left in `out`. Shifting by the maximum keeps every exponential in [0, 1].
#pragma once

#include "cpu/rows.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
struct RowNormalizer {
    T maximum, sum;
};

template <class T>
STEEPEST_HD RowNormalizer<T> exponentiate_row(const T* x, int64_t x_stride, T* out, int64_t out_stride, int64_t n) {
    using V = Vec<T>;
    const V lowest(-__builtin_inf());
    if (n <= V::kSize) {  // one vector: the row stays in a register
        const int lanes = static_cast<int>(n);
        const V v = load_items(x, x_stride, lanes, lowest);
        const T m = reduce_max(v);
        const V e = exp(v - V(m));
        store_items(e, out, out_stride, lanes);
        return {m, reduce_add(e)};  // the lanes beyond n are exp(-inf) = 0
    }
    V m0 = lowest, m1 = lowest;
    int64_t j = 0;
    if (x_stride == 1) {
        for (; j + 2 * V::kSize <= n; j += 2 * V::kSize) m0 = max(m0, V::load(x + j)), m1 = max(m1, V::load(x + j + V::kSize));
        for (; j + V::kSize <= n; j += V::kSize) m0 = max(m0, V::load(x + j));
    }
    T m = reduce_max(max(m0, m1));
    for (; j < n; ++j) m = x[j * x_stride] > m ? x[j * x_stride] : m;
    V s(0);
    T tail = 0;
    const V shift(m);
    for_each_vector<T>(0, n, [&](int64_t i, int lanes) {
        const V e = exp(load_items(x + i * x_stride, x_stride, lanes) - shift);
        store_items(e, out + i * out_stride, out_stride, lanes);
        if (lanes == V::kSize)
            s = s + e;
        else
            for (int l = 0; l < lanes; ++l) tail += out[(i + l) * out_stride];
    });
    return {m, reduce_add(s) + tail};
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
