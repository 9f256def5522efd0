// What a replay and a profile report about the operations of a graph.
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

// The bytes that an operation reads and writes. A few operations touch only parts of their arrays; these have a bytes()
// of their own.
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
