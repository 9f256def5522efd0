#include <cstring>

#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

void run(const ops::TakeRows& op, Team& team) {
    const int64_t start = op.start.get(), n = op.out.rows;
    Failure failure;
    failure.operation = op.kName;
    if (start < 0 || start + n > op.indices.size) {
        failure.kind = Failure::kStart, failure.value = start, failure.position = n, failure.limit = op.indices.size;
        return team.fail(failure);
    }
    // All indices are checked by every member before the first row is copied.
    const int64_t* const indices = op.indices.data + start * op.indices.stride;
    for (int64_t i = 0; i < n; ++i) {
        const int64_t index = indices[i * op.indices.stride];
        if (static_cast<uint64_t>(index) < static_cast<uint64_t>(op.x.rows)) continue;
        failure.kind = Failure::kIndex, failure.value = index, failure.position = start + i, failure.limit = op.x.rows;
        return team.fail(failure);
    }
    const Range mine = team.split(n, 1 + 256 / (op.out.cols + 1));
    for (int64_t i = mine.begin; i < mine.end; ++i)
        std::memcpy(op.out.row(i), op.x.row(indices[i * op.indices.stride]), op.out.cols);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
