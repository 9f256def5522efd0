#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

void run(const ops::Increment& op, Team& team) {
    if (team.rank() == 0) *op.counter += op.by;
}

void run(const ops::Accumulate& op, Team& team) {
    if (team.rank() == 0) *op.total += op.scale * op.value.get();
}

void run(const ops::LookUp& op, Team& team) {
    if (team.rank() == 0) *op.out = op.item(op.table, op.index.get());
}

void run(const ops::RequireFinite& op, Team& team) {
    const double value = *op.value;
    if (value - value == 0) return;  // for infinity and NaN the difference is NaN
    Failure failure;
    failure.kind = Failure::kNotFinite, failure.operation = number_of(op), failure.number = value;
    team.fail(failure);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
