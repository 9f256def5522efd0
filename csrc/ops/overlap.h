// The memory check of every operation, for the arrays that visit() names. An output must not overlap any other array,
// and its own items must not overlap one another. The exception: a kWriteItems output may be the same memory as a
// kReadItems input.
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
        if (layout.item_bytes > 0) memory_.arrays.emplace_back(use, name, layout);
    }
    void team_memory() {}

    void require_apart(const char* operation) {
        // In order of their addresses, an array meets only those that begin before it ends.
        auto& order = memory_.by_address;
        for (const Used& used : memory_.arrays) order.push_back(&used);
        std::sort(order.begin(), order.end(),
                  [](const Used* a, const Used* b) { return a->range.begin < b->range.begin; });
        for (auto at = order.begin(); at != order.end(); ++at) {
            const Used& a = **at;
            if (writes(a.use) && a.range.repeats)
                reject(operation, "items of ", a.name, " overlap one another in memory");
            for (auto other = at + 1; other != order.end() && (*other)->range.begin < a.range.end; ++other) {
                const Used& b = **other;
                // Of two outputs, the one that visit() names first is the one that overlaps.
                if (writes(a.use) && (&a < &b || !writes(b.use)))
                    require_apart(operation, a, b);
                else if (writes(b.use))
                    require_apart(operation, b, a);
            }
        }
    }

  private:
    struct Used {
        Use use;
        const char* name;
        Layout layout;
        MemoryRange range;

        Used(Use u, const char* n, const Layout& l) : use(u), name(n), layout(l), range(memory_range(l)) {}
    };

    struct Memory {
        std::vector<Used> arrays;  // as visit() names them
        std::vector<const Used*> by_address;
    };

    static void require_apart(const char* operation, const Used& output, const Used& other) {
        const bool in_place = output.use == kWriteItems && other.use == kReadItems && output.layout == other.layout;
        if (in_place || !overlap(output.range, other.range)) return;
        if (output.name == other.name) reject(operation, "two of the ", output.name, " overlap in memory");
        reject(operation, output.name, " overlaps ", other.name, " in memory");
    }

    // The thread's memory, so that a call of small arrays allocates nothing.
    static Memory& memory() {
        static thread_local Memory memory;
        memory.arrays.clear(), memory.by_address.clear();
        return memory;
    }

    Memory& memory_ = memory();
};

template <class Op>
void require_apart(const Op& op) {
    OverlapCheck check;
    op.visit(check);
    check.require_apart(name_of(op));
}

}  // namespace steepest::ops
