// Reducing a run of items on one thread.
#pragma once

#include <cstdint>

#include "common/reductions.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int kReduceLanes = 8;  // number of independent partial results, so that additions overlap

template <class R, class T>
typename R::Total reduce_span(const T* x, int64_t stride, int64_t n) {
    typename R::Total lane[kReduceLanes];
    for (auto& l : lane) l = R::kRest;
    int64_t j = 0;
    if (stride == 1) {
        for (; j + kReduceLanes <= n; j += kReduceLanes)
            for (int l = 0; l < kReduceLanes; ++l) lane[l] = R::combine(lane[l], x[j + l]);
    }
    for (; j < n; ++j) lane[j % kReduceLanes] = R::combine(lane[j % kReduceLanes], x[j * stride]);
    typename R::Total total = lane[0];
    for (int l = 1; l < kReduceLanes; ++l) total = R::merge(total, lane[l]);
    return total;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
