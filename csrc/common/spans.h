// Sequences of different lengths without padding: which rows of an array belong to which sequence. A step of a sequence
// is a row, and a sequence is a run of rows, a span. The array may be packed (spans follow one another), padded, or a
// cache that fills up: kernels read and write the rows of spans alone.
#pragma once

#include "common/failure.h"
#include "common/views.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

struct Spans {
    MatrixView<const int64_t> table;  // (count, 2): first row and number of rows; absent for spans of equal length
    int64_t count = 0;
    int64_t rows = 0;  // of the arrays; spans of equal length divide them

    STEEPEST_HD int64_t first(int64_t i) const { return table ? table(i, 0) : i * length(i); }
    STEEPEST_HD int64_t length(int64_t i) const { return table ? table(i, 1) : rows / count; }
    STEEPEST_HD bool is_bad(int64_t i) const {
        const int64_t begin = first(i), n = length(i);
        return begin < 0 || n < 0 || n > rows || begin > rows - n;
    }
    STEEPEST_HD Failure failure_of(int64_t i, OperationNumber operation) const {
        Failure f;
        f.kind = Failure::kSpan, f.operation = operation;
        f.value = first(i), f.position = i, f.limit = rows, f.number = static_cast<double>(length(i));
        return f;
    }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
