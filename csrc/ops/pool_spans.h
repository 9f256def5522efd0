// One row for each sequence: the mean of its rows, its last row or the maximum of each column; with the gradient and the
// derivative along a direction. A sequence without rows gives zeros.
#pragma once

#include "common/spans.h"
#include "ops/contract.h"

namespace steepest::ops {

enum class SpanPooling : int8_t { kMean, kLast, kMax };

struct SpanPoolingInfo {
    const char* name;
    SpanPooling kind;
};
constexpr SpanPoolingInfo kSpanPoolings[] = {
    {"mean", SpanPooling::kMean}, {"last", SpanPooling::kLast}, {"max", SpanPooling::kMax}};

// Requires an item for each sequence and column.
template <class T, class U>
void require_item_for_each_sequence(const char* name, const Spans& spans, const char* what, const MatrixView<T>& m,
                                    const char* rows_name, const MatrixView<U>& rows) {
    require(m.rows == spans.count && m.cols == rows.cols, name, what, " has shape ", shape_of(m), ", but there are ",
            spans.count, " sequences of rows of ", rows_name, " of shape ", shape_of(rows));
}

template <class T>
struct PoolSpans {
    static constexpr const char* kName = "pool_spans";
    static constexpr bool kMayFail = true;
    MatrixView<const T> x;  // (rows, d)
    Spans spans;
    SpanPooling kind = SpanPooling::kMean;
    MatrixView<T> out;          // (sequences, d)
    MatrixView<int64_t> index;  // (sequences, d): the row of each maximum, the first of several or the first NaN, or
                                // -1; absent if it is not asked for

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "spans", spans.table), v(kWrite, "out", out), v(kWrite, "index", index);
    }

    void check() const {
        require(!index || kind == SpanPooling::kMax, kName, "index is for mode 'max' alone");
        require_item_for_each_sequence(kName, spans, "out", out, "x", x);
        if (index) require_item_for_each_sequence(kName, spans, "index", index, "x", x);
    }

    double flops() const { return 1.0 * x.rows * x.cols; }
};

// d_x = d_y / length in all rows of a sequence, or d_y in its last row, or at its maxima, and 0 elsewhere. Rows of no
// sequence are left as they are.
template <class T>
struct PoolSpansBackward {
    static constexpr const char* kName = "pool_spans_backward";
    static constexpr bool kMayFail = true;
    MatrixView<const T> d_y;  // (sequences, d)
    Spans spans;
    SpanPooling kind = SpanPooling::kMean;
    MatrixView<const int64_t> index;  // (sequences, d), for the maximum
    MatrixView<T> d_x;                // (rows, d)

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "d_y", d_y), v(kRead, "spans", spans.table), v(kRead, "index", index), v(kWrite, "d_x", d_x);
    }

    void check() const {
        require(!index || kind == SpanPooling::kMax, kName, "index is for mode 'max' alone");
        require(index || kind != SpanPooling::kMax, kName, "mode 'max' requires index");
        require_item_for_each_sequence(kName, spans, "d_y", d_y, "d_x", d_x);
        if (index) require_item_for_each_sequence(kName, spans, "index", index, "d_x", d_x);
    }

    double flops() const { return 1.0 * d_x.rows * d_x.cols; }
};

// out[i, j] = dx[index[i, j], j], or 0 for an index that is no row.
template <class T>
struct PoolSpansGather {
    static constexpr const char* kName = "pool_spans_gather";
    MatrixView<const T> dx;           // (rows, d)
    MatrixView<const int64_t> index;  // (sequences, d)
    MatrixView<T> out;                // (sequences, d)

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "dx", dx), v(kRead, "index", index), v(kWrite, "out", out);
    }

    void check() const {
        require(index.cols == dx.cols, kName, "index has ", index.cols, " columns, but dx has ", dx.cols);
        require_same_shape(kName, "out", out, "index", index);
    }

    STEEPEST_HD T item(int64_t i, int64_t j) const {
        const int64_t row = index(i, j);
        return row >= 0 && row < dx.rows ? dx(row, j) : T(0);
    }

    double flops() const { return 1.0 * out.rows * out.cols; }
};

}  // namespace steepest::ops
