#include <cstring>

#include "cpu/gemm_plan.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kRowsAhead = 2;
constexpr int64_t kFetchedBytes = 4096;  // at most; the processor foresees the rest of a longer row

// Brings the beginning of a row into the caches: the processor cannot foresee where the next row lies.
void fetch_row(const char* row, int64_t bytes) {
    const int64_t end = bytes < kFetchedBytes ? bytes : kFetchedBytes;
    for (int64_t b = 0; b < end; b += 64) __builtin_prefetch(row + b);
}

}  // namespace

void run(const ops::TakeRows& op, Team& team) {
    const int64_t start = op.start.get(), n = op.out.rows;
    Failure failure;
    failure.operation = number_of(op);
    if (start < 0 || start > op.indices.size - n) {
        failure.kind = Failure::kStart, failure.value = start, failure.position = n, failure.limit = op.indices.size;
        return team.fail(failure);
    }
    // Every thread checks all indices before it copies the first row.
    const int64_t* const indices = op.indices.data + start * op.indices.stride;
    for (int64_t i = 0; i < n; ++i) {
        const int64_t index = indices[i * op.indices.stride];
        if (static_cast<uint64_t>(index) < static_cast<uint64_t>(op.x.rows)) continue;
        failure.kind = Failure::kIndex, failure.value = index, failure.position = start + i, failure.limit = op.x.rows;
        return team.fail(failure);
    }
    // A few long rows are divided by columns, like the inputs of the products that read them.
    const bool by_columns = n <= kFewRows && op.out.cols >= 1024;
    const Range rows = by_columns ? Range{0, n} : team.split(n, 1 + 256 / (op.out.cols + 1));
    const Range cols = by_columns ? team.split(op.out.cols, 64) : Range{0, op.out.cols};
    if (cols.empty()) return;
    const int64_t bytes = cols.end - cols.begin;
    const auto source = [&](int64_t i) { return op.x.row(indices[i * op.indices.stride]) + cols.begin; };
    for (int64_t i = rows.begin; i < rows.end; ++i) {
        if (i + kRowsAhead < rows.end) fetch_row(source(i + kRowsAhead), bytes);
        std::memcpy(op.out.row(i) + cols.begin, source(i), bytes);
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
