// The reductions: how an item is combined with a total, and how the totals of parts are merged.
#pragma once

#include "common/macros.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Sums are accumulated in double, far more accurately than the data.
template <class T>
struct SumOf {
    using Total = double;
    static constexpr T kRest = 0;  // the neutral item
    static STEEPEST_HD Total combine(Total total, T item) { return total + static_cast<double>(item); }
    static STEEPEST_HD Total merge(Total a, Total b) { return a + b; }
};

template <class T>
struct SumOfSquares : SumOf<T> {
    static STEEPEST_HD double combine(double total, T item) {
        const double x = static_cast<double>(item);
        return total + x * x;
    }
};

// NaN propagates.
template <class T>
struct MaximumOf {
    using Total = T;
    static constexpr T kRest = -static_cast<T>(__builtin_inf());
    static STEEPEST_HD T combine(T a, T b) { return a > b || a != a ? a : b; }
    static STEEPEST_HD T merge(T a, T b) { return combine(a, b); }
};

template <class T>
struct MinimumOf {
    using Total = T;
    static constexpr T kRest = static_cast<T>(__builtin_inf());
    static STEEPEST_HD T combine(T a, T b) { return a < b || a != a ? a : b; }
    static STEEPEST_HD T merge(T a, T b) { return combine(a, b); }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
