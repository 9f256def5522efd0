// Walking along the axes of several views of one shape.
#pragma once

#include "common/views.h"
#include "cpu/team.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// A place along some axes, and how many items it lies behind the first in each of N views. Going on to the next place
// takes an addition for each view; to seek one, the extents are divided out.
template <int N>
class Place {
  public:
    STEEPEST_HD explicit Place(const CommonAxes<N>& axes) : axes_(axes) {}

    STEEPEST_HD int64_t offset(int view) const { return offset_[view]; }

    STEEPEST_HD void seek(int64_t number) {
        for (int64_t& offset : offset_) offset = 0;
        for (int d = axes_.axes - 1; d >= 0; --d) {
            at_[d] = number % axes_.extent[d], number /= axes_.extent[d];
            for (int v = 0; v < N; ++v) offset_[v] += at_[d] * axes_.stride[v][d];
        }
    }

    STEEPEST_HD void next() {
        for (int d = axes_.axes - 1; d >= 0; --d) {
            for (int v = 0; v < N; ++v) offset_[v] += axes_.stride[v][d];
            if (++at_[d] < axes_.extent[d]) return;
            for (int v = 0; v < N; ++v) offset_[v] -= axes_.extent[d] * axes_.stride[v][d];
            at_[d] = 0;
        }
    }

  private:
    CommonAxes<N> axes_;
    int64_t at_[kMaxAxes] = {}, offset_[N] = {};
};

// Calls f(place, items) for this member's rows: a place along `axes`, and which of the n items of its row to take.
// At least `grain` items are worth a member. Rows are walked in blocks of as many items: what lies beside one another
// in neighbouring rows is then met while it is in the caches.
template <int N, class F>
STEEPEST_HD void for_my_rows(const CommonAxes<N>& axes, int64_t n, int64_t grain, int64_t block, const Team& team,
                             F&& f) {
    constexpr int64_t kFewRows = 64;  // would be shared out unevenly, and are by their items
    const int64_t rows = axes.places();
    const bool by_items = rows < kFewRows && n > grain;
    const Range mine = by_items ? Range{0, rows} : team.split(rows, 1 + grain / (n + 1));
    const Range items = by_items ? team.split(n, grain) : Range{0, n};
    if (mine.empty()) return;
    Place<N> place(axes);
    for (int64_t j = items.begin; j < items.end; j += block) {
        const Range part{j, items.end - j < block ? items.end : j + block};
        place.seek(mine.begin);
        for (int64_t i = mine.begin; i < mine.end; ++i, place.next()) f(place, part);
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
