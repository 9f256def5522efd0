// The check of spans, before a kernel writes anything.
#pragma once

#include "common/spans.h"
#include "cpu/team.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Whether all spans lie within the rows. If not, the team fails with the first that does not. Every thread checks all.
STEEPEST_HD bool check_spans(const Spans& spans, OperationNumber operation, Team& team) {
    if (!spans.table) return true;
    for (int64_t i = 0; i < spans.count; ++i) {
        if (!spans.is_bad(i)) continue;
        team.fail(spans.failure_of(i, operation));
        return false;
    }
    return true;
}

// Steps of all spans.
STEEPEST_HD int64_t steps_of(const Spans& spans) {
    if (!spans.table) return spans.rows;
    int64_t steps = 0;
    for (int64_t i = 0; i < spans.count; ++i) steps += spans.length(i);
    return steps;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
