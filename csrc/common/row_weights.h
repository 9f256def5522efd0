// The weights of the rows of a mini-batch: a row has weight 0 if its label is the ignored one.
#pragma once

#include "common/views.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
struct RowWeights {
    VectorView<const T> weight;  // or absent
    IntegerVectorView labels;    // or absent
    bool has_ignore_label = false;
    int64_t ignore_label = 0;

    STEEPEST_HD bool ignores(int64_t label) const { return has_ignore_label && label == ignore_label; }
    STEEPEST_HD bool is_bad(int64_t label, int64_t classes) const {
        return static_cast<uint64_t>(label) >= static_cast<uint64_t>(classes) && !ignores(label);
    }

    STEEPEST_HD int64_t label_of(int64_t i) const { return labels ? labels[i] : 0; }

    // The weight of row i, for a caller that has read its label.
    STEEPEST_HD double weight_of(int64_t i, int64_t label) const {
        return ignores(label) ? 0.0 : weight ? static_cast<double>(weight[i]) : 1.0;
    }

    STEEPEST_HD bool ignored(int64_t i) const { return has_ignore_label && ignores(labels[i]); }
    STEEPEST_HD double operator[](int64_t i) const { return weight_of(i, has_ignore_label ? labels[i] : 0); }

    // The sum of all weights. Its order is fixed, so that all threads get the same result. Several partial sums hide
    // the latency of additions.
    STEEPEST_HD double sum(int64_t n) const {
        if (!weight && !has_ignore_label) return static_cast<double>(n);
        constexpr int kSums = 8;
        double total[kSums] = {};
        const int64_t whole = n - n % kSums;
        for (int64_t i = 0; i < whole; i += kSums)
            for (int k = 0; k < kSums; ++k) total[k] += (*this)[i + k];
        for (int64_t i = whole; i < n; ++i) total[i - whole] += (*this)[i];
        for (int k = 1; k < kSums; ++k) total[0] += total[k];
        return total[0];
    }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
