// What graphs report about their operations.
#pragma once

#include "common/failure.h"
#include "ops/memory.h"

namespace steepest::ops {

// Adds up the bytes of the arrays that an operation touches.
struct ByteCounter {
    double bytes = 0;

    template <class View>
    void operator()(Use use, const char*, const View& view) {
        const double size = static_cast<double>(layout_of(view).bytes());
        bytes += use == kUpdate ? 2 * size : size;
    }
    void team_memory() {}
};

// A few operations touch less than the arrays that they are given.
template <class Op>
double bytes_of(const Op& op) {
    if constexpr (requires { op.bytes(); }) return op.bytes();
    ByteCounter counter;
    op.visit(counter);
    return counter.bytes;
}

struct ReplayResult {
    int64_t steps = 0;  // steps that were completed
    bool interrupted = false;
    Failure failure;
};

struct OperationProfile {
    const char* name;
    double seconds, flops, bytes;  // of one call
};

}  // namespace steepest::ops
