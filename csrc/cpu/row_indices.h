// The check of a mini-batch's rows, and the fetch of those that come next.
#pragma once

#include "common/row_indices.h"
#include "cpu/team.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int64_t kRowsAhead = 2;
constexpr int64_t kFetchedBytes = 4096;  // at most; the processor foresees the rest of a longer row

// Whether all rows are valid. If not, the team fails with the first that is not. Every thread checks all of them before
// it writes anything.
STEEPEST_HD bool check_rows(const RowIndices& rows, Team& team) {
    if (!rows.starts_within()) {
        team.fail(rows.failure_of_start());
        return false;
    }
    for (int64_t i = 0; i < rows.count; ++i) {
        if (!rows.is_bad(i)) continue;
        team.fail(rows.failure_of(i));
        return false;
    }
    return true;
}

// Brings the beginning of a row into the caches: the processor cannot foresee where the next row lies.
STEEPEST_HD void fetch_row(const void* row, int64_t bytes) {
    const int64_t end = bytes < kFetchedBytes ? bytes : kFetchedBytes;
    for (int64_t b = 0; b < end; b += 64) __builtin_prefetch(static_cast<const char*>(row) + b);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
