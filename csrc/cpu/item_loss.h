// Losses that are a sum over items, in vectors along the rows or, if a row has a single item, down the column.
#pragma once

#include "common/item_loss.h"
#include "cpu/flush_subnormals.h"
#include "cpu/rows.h"
#include "cpu/wide_sum.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Contiguous items.
template <class T, int In, int Out>
struct ItemRun {
    const T* in[In];
    T* out[Out];
    const T* weight = nullptr;  // weight of each item, or absent

    // Writes slope * gradient of the vector at j, and adds factor * l to the sum. Both are multiplied by the items'
    // weights.
    template <class F>
    STEEPEST_HD void take(int64_t j, int lanes, T slope, T factor, const F& f, WideSum<T>& sum) const {
        using V = Vec<T>;
        V x[In], d[Out];
        for (int k = 0; k < In; ++k) x[k] = load_items(in[k] + j, 1, lanes);
        V value = V(factor) * f(x, d);
        for (int k = 0; k < Out; ++k) d[k] = d[k] * V(slope);
        if (weight || lanes < V::kSize) {
            // Lanes past the end have weight 0, so their contents do not matter.
            const V w = weight ? load_items(weight + j, 1, lanes) : V::load(kOnes, lanes);
            const auto absent = w == V(0);
            value = select(absent, V(0), w * value);
            for (int k = 0; k < Out; ++k) d[k] = select(absent, V(0), w * d[k]);
        }
        sum.add(value);
        for (int k = 0; k < Out; ++k) store_items(d[k], out[k] + j, 1, lanes);
    }

    // The loops below share this function, which is not inlined: otherwise most of the compiled code would be copies of
    // it.
    template <class F>
    __attribute__((noinline)) void take_all(int64_t n, T slope, T factor, const F& f, WideSum<T>& sum) const {
        constexpr int kSize = Vec<T>::kSize;
        int64_t j = 0;
        for (; j + kSize <= n; j += kSize) take(j, kSize, slope, factor, f, sum);
        if (j < n) take(j, static_cast<int>(n - j), slope, factor, f, sum);
    }

  private:
    alignas(64) static constexpr T kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
};

constexpr int64_t kColumnItems = 512;  // items of a strided column that are copied together

// The sum of w_i l_i over rows of one item; `scratch` has room for kColumnItems of each matrix and of the weights.
template <class T, int In, int Out, class F>
STEEPEST_HD double column_losses(const ItemLoss<T, In, Out>& op, Range rows, double scale, const F& f, T* scratch) {
    const auto part = [](const auto& m, int64_t begin, int64_t n) { return m.block(begin, 0, n, 1).transposed(); };
    WideSum<T> sum;
    for (int64_t i = rows.begin; i < rows.end; i += kColumnItems) {
        const int64_t n = rows.end - i < kColumnItems ? rows.end - i : kColumnItems;
        T* buffer = scratch;
        ItemRun<T, In, Out> run;
        for (int k = 0; k < In; ++k, buffer += kColumnItems)
            run.in[k] = contiguous_row(part(op.in[k], i, n), 0, buffer);
        for (int k = 0; k < Out; ++k, buffer += kColumnItems)
            run.out[k] = writable_row(part(op.out[k], i, n), 0, buffer);
        const MatrixView<const T> weight{op.weight.data, op.rows(), 1, op.weight.stride, 1};
        if (weight) run.weight = contiguous_row(part(weight, i, n), 0, buffer);
        run.take_all(n, static_cast<T>(scale), T(1), f, sum);
        for (int k = 0; k < Out; ++k) put_row(part(op.out[k], i, n), 0, run.out[k]);
    }
    return sum.total();
}

// The sum of w_i l_ij over rows; `scratch` has room for a row of each matrix.
template <class T, int In, int Out, class F>
STEEPEST_HD double row_losses(const ItemLoss<T, In, Out>& op, Range rows, double scale, const F& f, T* scratch) {
    const int64_t m = op.cols();
    WideSum<T> sum;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
        const double w = op.weight ? static_cast<double>(op.weight[i]) : 1;
        T* buffer = scratch;
        ItemRun<T, In, Out> run;
        for (int k = 0; k < In; ++k, buffer += m) run.in[k] = contiguous_row(op.in[k], i, buffer);
        for (int k = 0; k < Out; ++k, buffer += m) run.out[k] = writable_row(op.out[k], i, buffer);
        if (w != 0) {
            run.take_all(m, static_cast<T>(scale * w), static_cast<T>(w), f, sum);
        } else {  // a row of weight 0 may hold NaN
            for (int k = 0; k < Out; ++k)
                for (int64_t j = 0; j < m; ++j) run.out[k][j] = T(0);
        }
        for (int k = 0; k < Out; ++k) put_row(op.out[k], i, run.out[k]);
    }
    return sum.total();
}

constexpr int64_t kShortRow = 64;

// The sum of w_i l_ij over short contiguous rows: vectors run across rows, and each item has the weight of its row.
// `scratch` has room for kColumnItems and a vector.
template <class T, int In, int Out, class F>
STEEPEST_HD double short_row_losses(const ItemLoss<T, In, Out>& op, Range rows, double scale, const F& f, T* scratch) {
    using V = Vec<T>;
    const int64_t m = op.cols(), at_once = kColumnItems / m;
    WideSum<T> sum;
    for (int64_t i = rows.begin; i < rows.end; i += at_once) {
        const int64_t n = rows.end - i < at_once ? rows.end - i : at_once;
        // The last vector of a row may write beyond it; the next row overwrites these items.
        for (int64_t r = 0; r < n; ++r)
            for (int64_t j = 0; j < m; j += V::kSize) V(op.weight[i + r]).store(scratch + r * m + j);
        ItemRun<T, In, Out> run;
        for (int k = 0; k < In; ++k) run.in[k] = op.in[k].row(i);
        for (int k = 0; k < Out; ++k) run.out[k] = op.out[k].row(i);
        run.weight = scratch;
        run.take_all(n * m, static_cast<T>(scale), T(1), f, sum);
    }
    return sum.total();
}

template <class T, int In, int Out, class F>
void run_item_loss(ItemLoss<T, In, Out> op, Team& team, const F& f) {
    const FlushSubnormals flush;
    const bool one_run = is_one_run(op);
    if (one_run && !op.weight) reshape_run(op, 1);
    const double scale = op.scale(RowWeights<T>{op.weight, {}, false, 0}.sum(op.rows()));
    constexpr int64_t kBuffers = In + Out + 1;
    T* const scratch =
        static_cast<T*>(team.scratch(kBuffers * (op.cols() > kColumnItems ? op.cols() : kColumnItems) * sizeof(T)));
    sum_over_rows(op.rows(), scale, op.loss, team, [&](Range rows) {
        if (op.cols() == 1) return column_losses(op, rows, scale, f, scratch);
        if (one_run && op.cols() <= kShortRow) return short_row_losses(op, rows, scale, f, scratch);
        return row_losses(op, rows, scale, f, scratch);
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
