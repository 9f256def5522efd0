// Rotary position encoding: items j and j + d/2 of a head of d items are a pair, which is rotated by the angle
// position * base^(-2j/d). Rows of no sequence are left as they are.
#pragma once

#include "common/spans.h"
#include "ops/contract.h"

namespace steepest::ops {

template <class T>
struct Rotary {
    static constexpr const char* kName = "rotary";
    static constexpr bool kMayFail = true;
    MatrixView<const T> x;  // (rows, heads * d)
    int64_t heads = 1;
    Spans spans;
    VectorView<const int64_t> firsts;  // (sequences,): the position of the first row of each sequence, or absent
    ScalarView<int64_t> first;         // the same for all sequences
    double base = 1;
    bool inverse = false;  // rotates back
    MatrixView<T> out;     // (rows, heads * d): x itself, or disjoint from it

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "x", x), v(kRead, "spans", spans.table), v(kRead, "first", firsts), v(kRead, "first", first);
        v(kWriteItems, "out", out);
    }

    void check() const {
        require(heads >= 1, kName, "heads is ", heads, "; it must be at least 1");
        require(x.cols % heads == 0 && x.cols / heads % 2 == 0, kName, "x has ", x.cols, " columns, which are not ",
                heads, " heads of an even number of items");
        require(base >= 1 && base < __builtin_inf(), kName, "base is ", base, "; it must be finite and at least 1");
        require_same_shape(kName, "out", out, "x", x);
        require(!firsts || firsts.size == spans.count, kName, "first has ", firsts.size, " items, but there are ",
                spans.count, " sequences");
    }

    STEEPEST_HD int64_t pairs() const { return x.cols / heads / 2; }  // of a head
    STEEPEST_HD double position(int64_t sequence, int64_t place) const {
        return static_cast<double>(firsts ? firsts[sequence] : first.get()) + static_cast<double>(place);
    }

    double flops() const { return 3.0 * x.rows * x.cols + 40.0 * x.rows * static_cast<double>(pairs()); }
};

}  // namespace steepest::ops
