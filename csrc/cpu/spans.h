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

// Calls f(sequence, place in the sequence, row) for this thread's steps, out of those of all sequences.
template <class F>
STEEPEST_HD void for_my_steps(const Spans& spans, int64_t grain, const Team& team, F&& f) {
    const Range mine = team.split(steps_of(spans), grain);
    int64_t before = 0;  // steps of the sequences before
    for (int64_t i = 0; i < spans.count && before < mine.end; ++i) {
        const int64_t first = spans.first(i), length = spans.length(i);
        const int64_t begin = mine.begin > before ? mine.begin - before : 0;
        const int64_t end = mine.end - before < length ? mine.end - before : length;
        for (int64_t place = begin; place < end; ++place) f(i, place, first + place);
        before += length;
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
