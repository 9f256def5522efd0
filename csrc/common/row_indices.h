// The rows of a mini-batch as operations take them: rows[start .. start + count - 1], each an index below a limit.
#pragma once

#include "common/failure.h"
#include "common/views.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The failure of a mini-batch that does not lie within the `size` items of `rows`.
STEEPEST_HD Failure start_failure(OperationNumber operation, int64_t start, int64_t batch, int64_t size) {
    Failure f;
    f.kind = Failure::kStart, f.operation = operation;
    f.value = start, f.position = batch, f.limit = size;
    return f;
}

struct RowIndices {
    IntegerVectorView rows;
    ScalarView<int64_t> start;
    int64_t count;  // of the mini-batch
    int64_t limit;  // indices are 0 .. limit - 1
    OperationNumber operation;

    // The usual type is read without the choice among all.
    STEEPEST_HD int64_t index_of(int64_t i) const {
        const int64_t at = start.get() + i;
        if (rows.type == IntegerType::kInt64) return *reinterpret_cast<const int64_t*>(rows.data + at * rows.stride);
        return rows[at];
    }
    STEEPEST_HD bool is_bad(int64_t i) const {
        return static_cast<uint64_t>(index_of(i)) >= static_cast<uint64_t>(limit);
    }
    STEEPEST_HD bool starts_within() const { return start.get() >= 0 && start.get() <= rows.size - count; }

    STEEPEST_HD Failure failure_of_start() const { return start_failure(operation, start.get(), count, rows.size); }
    STEEPEST_HD Failure failure_of(int64_t i) const {
        Failure f;
        f.kind = Failure::kIndex, f.operation = operation;
        f.value = index_of(i), f.position = start.get() + i, f.limit = limit;
        return f;
    }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
