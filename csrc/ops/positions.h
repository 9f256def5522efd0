// out[row] = the position of the row in its sequence, counted from 0. Rows of no sequence are left as they are.
#pragma once

#include "common/spans.h"
#include "ops/contract.h"

namespace steepest::ops {

struct Positions {
    static constexpr const char* kName = "positions";
    static constexpr bool kMayFail = true;
    Spans spans;
    VectorView<int64_t> out;  // (rows,)

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "spans", spans.table), v(kWrite, "out", out);
    }

    void check() const {}

    double flops() const { return 1.0 * out.size; }
};

}  // namespace steepest::ops
