// What can be reduced, item by item, and how the totals of parts are merged.
#pragma once

#include "cuda/device/rows.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Sums are held in double: far more accurate than the data.
template <class T>
struct SumOf {
    using Total = double;
    static constexpr T kRest = 0;  // an item that changes nothing
    static __device__ Total combine(Total total, T item) { return total + static_cast<double>(item); }
    static __device__ Total merge(Total a, Total b) { return a + b; }
};

template <class T>
struct SumOfSquares : SumOf<T> {
    static __device__ double combine(double total, T item) {
        return fma(static_cast<double>(item), static_cast<double>(item), total);
    }
};

// A NaN, once met, stays.
template <class T>
struct MaximumOf {
    using Total = T;
    static constexpr T kRest = -static_cast<T>(__builtin_inf());
    static __device__ T combine(T a, T b) { return a > b || a != a ? a : b; }
    static __device__ T merge(T a, T b) { return combine(a, b); }
};

template <class T>
struct MinimumOf {
    using Total = T;
    static constexpr T kRest = static_cast<T>(__builtin_inf());
    static __device__ T combine(T a, T b) { return a < b || a != a ? a : b; }
    static __device__ T merge(T a, T b) { return combine(a, b); }
};

template <class R>
struct Merge {
    template <class Total>
    __device__ Total operator()(Total a, Total b) const {
        return R::merge(a, b);
    }
};

template <class R, class T, int Lanes, int Vectors>
__device__ __forceinline__ void add_row(typename R::Total& total, RowChunk<T, Lanes, Vectors>& chunk,
                                        const VectorView<const T>& row) {
    for (int64_t start = 0; start < row.size; start += chunk.kSpan) {
        chunk.load(row, start, R::kRest);
        chunk.for_each([&](int q) { total = R::combine(total, chunk.item[q]); });
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
