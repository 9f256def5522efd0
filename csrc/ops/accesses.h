// The memory that an operation reads and writes, from which follows what must wait for what.
#pragma once

#include <vector>

#include "ops/memory.h"

namespace steepest::ops {

struct Accesses {
    std::vector<MemoryRange> reads, writes;
    bool uses_team_memory = false;

    template <class View>
    void operator()(Use use, const char*, const View& view) {
        const MemoryRange range = memory_range(layout_of(view));
        if (!range.empty()) (ops::writes(use) ? writes : reads).push_back(range);
    }
    void team_memory() { uses_team_memory = true; }

    void append(const Accesses& other) {
        reads.insert(reads.end(), other.reads.begin(), other.reads.end());
        writes.insert(writes.end(), other.writes.begin(), other.writes.end());
        uses_team_memory |= other.uses_team_memory;
    }

    // Whether one of two operations must wait for the other.
    bool conflicts_with(const Accesses& other) const {
        return (uses_team_memory && other.uses_team_memory) || conflicts_in_memory_with(other);
    }

    // The same without regard to the memory of a CPU team.
    bool conflicts_in_memory_with(const Accesses& other) const {
        return any_overlap(writes, other.writes) || any_overlap(writes, other.reads) ||
               any_overlap(reads, other.writes);
    }

    static bool any_overlap(const std::vector<MemoryRange>& a, const std::vector<MemoryRange>& b) {
        for (const auto& x : a)
            for (const auto& y : b)
                if (overlap(x, y)) return true;
        return false;
    }
};

template <class Op>
Accesses accesses_of(const Op& op) {
    Accesses accesses;
    op.visit(accesses);
    return accesses;
}

}  // namespace steepest::ops
