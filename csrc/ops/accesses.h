// The memory that an operation reads and writes, which decides which operations must wait for one another.
#pragma once

#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "ops/memory.h"

namespace steepest::ops {

// A set of memory ranges, sorted by address. Ranges whose extents overlap form a cluster, and clusters are disjoint. A
// query compares a range only with the clusters at its own addresses.
class MemoryRanges {
    struct Cluster {
        uintptr_t end;
        std::vector<MemoryRange> ranges;
    };

    // The first cluster that ends after an address.
    template <class C>
    static auto first_from(C& clusters, uintptr_t address) {
        const auto next = clusters.upper_bound(address);
        if (next == clusters.begin()) return next;
        const auto last = std::prev(next);
        return last->second.end > address ? last : next;
    }

  public:
    void add(const MemoryRange& range) {
        if (range.empty()) return;
        uintptr_t begin = range.begin;
        Cluster joined{range.end, {range}};
        auto place = first_from(clusters_, range.begin);
        while (place != clusters_.end() && place->first < range.end) {
            Cluster& met = place->second;
            if (place->first < begin) begin = place->first;
            if (met.end > joined.end) joined.end = met.end;
            if (met.ranges.size() > joined.ranges.size()) met.ranges.swap(joined.ranges);
            joined.ranges.insert(joined.ranges.end(), met.ranges.begin(), met.ranges.end());
            place = clusters_.erase(place);
        }
        clusters_.emplace_hint(place, begin, std::move(joined));
    }

    void add(const MemoryRanges& other) {
        other.any([this](const MemoryRange& range) { return add(range), false; });
    }

    bool overlaps(const MemoryRange& range) const {
        for (auto c = first_from(clusters_, range.begin); c != clusters_.end() && c->first < range.end; ++c)
            for (const MemoryRange& own : c->second.ranges)
                if (overlap(own, range)) return true;
        return false;
    }

    bool overlaps(const MemoryRanges& other) const {
        return other.any([this](const MemoryRange& range) { return overlaps(range); });
    }

  private:
    template <class Holds>
    bool any(const Holds& holds) const {
        for (const auto& [begin, cluster] : clusters_)
            for (const MemoryRange& range : cluster.ranges)
                if (holds(range)) return true;
        return false;
    }

    std::map<uintptr_t, Cluster> clusters_;  // keyed by their first addresses
};

struct Accesses {
    MemoryRanges reads, writes;
    bool uses_team_memory = false;

    template <class View>
    void operator()(Use use, const char*, const View& view) {
        (ops::writes(use) ? writes : reads).add(memory_range(layout_of(view)));
    }
    void team_memory() { uses_team_memory = true; }

    void append(const Accesses& other) {
        reads.add(other.reads), writes.add(other.writes);
        uses_team_memory |= other.uses_team_memory;
    }

    // Whether one of two operations must wait for the other.
    bool conflicts_with(const Accesses& other) const {
        return (uses_team_memory && other.uses_team_memory) || conflicts_in_memory_with(other);
    }

    // The same test, without the memory that the threads of a CPU team share.
    bool conflicts_in_memory_with(const Accesses& other) const {
        return writes.overlaps(other.writes) || reads.overlaps(other.writes) || writes.overlaps(other.reads);
    }
};

template <class Op>
Accesses accesses_of(const Op& op) {
    Accesses accesses;
    op.visit(accesses);
    return accesses;
}

}  // namespace steepest::ops
