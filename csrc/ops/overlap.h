// What every operation asks of its memory, by what visit() says of it: an output overlaps no other array, and its items
// do not lie over one another. Only where items are read one by one may an output be the very items of an input.
#pragma once

#include <algorithm>
#include <vector>

#include "ops/memory.h"

namespace steepest::ops {

class OverlapCheck {
  public:
    template <class View>
    void operator()(Use use, const char* name, const View& view) {
        const Layout layout = layout_of(view);
        const MemoryRange range = memory_range(layout);
        if (!range.empty()) arrays_.push_back({use, name, arrays_.size(), layout, range});
    }
    void team_memory() {}

    void require_apart(const char* operation) {
        // In order of their addresses, an array meets only those that begin before it ends.
        std::sort(arrays_.begin(), arrays_.end(),
                  [](const Used& a, const Used& b) { return a.range.begin < b.range.begin; });
        for (auto a = arrays_.begin(); a != arrays_.end(); ++a) {
            if (writes(a->use) && a->range.repeats)
                reject(operation, "items of ", a->name, " lie over one another in memory");
            for (auto b = a + 1; b != arrays_.end() && b->range.begin < a->range.end; ++b)
                if (writes(a->use) && (a->place < b->place || !writes(b->use)))
                    require_apart(operation, *a, *b);
                else if (writes(b->use))
                    require_apart(operation, *b, *a);
        }
    }

  private:
    struct Used {
        Use use;
        const char* name;
        size_t place;  // in visit()
        Layout layout;
        MemoryRange range;
    };

    static void require_apart(const char* operation, const Used& output, const Used& other) {
        const bool in_place = output.use == kWriteItems && other.use == kReadItems && output.layout == other.layout;
        if (in_place || !overlap(output.range, other.range)) return;
        if (output.name == other.name) reject(operation, "two of the ", output.name, " overlap in memory");
        reject(operation, output.name, " overlaps ", other.name, " in memory");
    }

    // The thread's memory, so that a call of small arrays allocates nothing.
    static std::vector<Used>& memory() {
        static thread_local std::vector<Used> arrays;
        arrays.clear();
        return arrays;
    }

    std::vector<Used>& arrays_ = memory();
};

template <class Op>
void require_apart(const Op& op) {
    OverlapCheck check;
    op.visit(check);
    check.require_apart(name_of(op));
}

}  // namespace steepest::ops
