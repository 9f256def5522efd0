// The rows of a mini-batch that count, and by how much: a row's weight, or 0 where its label is the ignored one.
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

    // Of row i, whose label is known.
    STEEPEST_HD double weight_of(int64_t i, int64_t label) const {
        return ignores(label) ? 0.0 : weight ? static_cast<double>(weight[i]) : 1.0;
    }

    STEEPEST_HD bool ignored(int64_t i) const { return has_ignore_label && ignores(labels[i]); }
    STEEPEST_HD double operator[](int64_t i) const { return weight_of(i, has_ignore_label ? labels[i] : 0); }

    // In the order of the rows, so that all who add them up get the same.
    STEEPEST_HD double sum(int64_t n) const {
        if (!weight && !has_ignore_label) return static_cast<double>(n);
        double total = 0;
        for (int64_t i = 0; i < n; ++i) total += (*this)[i];
        return total;
    }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
