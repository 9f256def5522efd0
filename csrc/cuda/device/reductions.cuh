// Reduces rows, item by item, and merges the totals of threads.
#pragma once

#include "common/reductions.h"
#include "cuda/device/rows.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

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
