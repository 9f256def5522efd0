// Operations on the small arrays that change from step to step of a captured graph: cursors, step counts, loss totals.
#pragma once

#include "ops/contract.h"

namespace steepest::ops {

// counter += by
struct Increment {
    static constexpr const char* kName = "increment";
    int64_t* counter = nullptr;
    int64_t by = 1;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kUpdate, "counter", one_item(counter));
    }
    void check() const {}
    double flops() const { return 0; }
};

// total += scale value
struct Accumulate {
    static constexpr const char* kName = "accumulate";
    double* total = nullptr;
    ScalarView<double> value;
    double scale = 1;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "value", value), v(kReadItems, "total", one_item(total));
        v(kWriteItems, "total", one_item(total));
    }
    void check() const {}
    double flops() const { return 2; }
};

// out = table[index]; an index below or above the valid range gives the first or the last item
struct LookUp {
    static constexpr const char* kName = "look_up";
    VectorView<const double> table;
    ScalarView<int64_t> index;
    double* out = nullptr;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "table", table), v(kRead, "index", index), v(kWrite, "out", one_item(out));
    }
    void check() const {
        require(table.size > 0, kName, "table has shape ", shape_of(table), ": there is nothing to look up");
    }
    double flops() const { return 0; }
    double bytes() const { return 16; }

    STEEPEST_HD static double item(const VectorView<const double>& table, int64_t index) {
        return table[index < 0 ? 0 : index < table.size ? index : table.size - 1];
    }
};

// Stops the replay before the next operation if the value is not finite.
struct RequireFinite {
    static constexpr const char* kName = "require_finite";
    static constexpr bool kMayFail = true;
    const double* value = nullptr;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "value", one_item(value));
    }
    void check() const {}
    double flops() const { return 0; }
};

}  // namespace steepest::ops
