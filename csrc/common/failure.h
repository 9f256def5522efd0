// An error in the data that a kernel found while it ran; the bindings turn it into an exception.
#pragma once

#include <cstdint>

namespace steepest {

// The number of the operation that failed, see ops/all.h. Device code cannot report the name: the host cannot read a
// string at a device address.
enum class OperationNumber : int16_t;

struct Failure {
    enum Kind : int8_t { kNone, kLabel, kIndex, kNotFinite, kStart, kColumn, kPointer, kSpan, kMask } kind = kNone;
    OperationNumber operation{};
    int64_t value =
        0;  // the offending label, index, start, column, bound of a sparse row, first row or length of a span
    int64_t position = 0;  // the index of that item in its array
    int64_t limit = 0;     // valid values are 0 .. limit - 1
    double number = 0;  // the value that is not finite, the length of a span, or whether a mask lacks keys (or queries)
    int64_t step = 0;   // the 0-based step of a replay
};

}  // namespace steepest
