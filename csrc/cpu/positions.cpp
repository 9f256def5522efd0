#include "cpu/run.h"
#include "cpu/spans.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

void run(const ops::Positions& op, Team& team) {
    constexpr int64_t kGrain = 4096;
    if (!check_spans(op.spans, number_of(op), team)) return;
    for_my_steps(op.spans, kGrain, team, [&](int64_t, int64_t place, int64_t row) { op.out[row] = place; });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
