// Declares launch(op, stream) for every operation: it enqueues the operation's kernels and returns.
#pragma once

#include "cuda/stream.h"
#include "ops/all.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

#define STEEPEST_DECLARE(Name) \
    template <class T>         \
    void launch(const ops::Name<T>& op, Stream& stream);
STEEPEST_FLOAT_OPERATIONS(STEEPEST_DECLARE)
#undef STEEPEST_DECLARE

#define STEEPEST_DECLARE(Name) void launch(const ops::Name& op, Stream& stream);
STEEPEST_OTHER_OPERATIONS(STEEPEST_DECLARE)
#undef STEEPEST_DECLARE

}  // namespace STEEPEST_TARGET
}  // namespace steepest

// Instantiates the two forms of an operation; used at the end of <op>.cu.
#define STEEPEST_INSTANTIATE(Name)                                                                         \
    template void steepest::STEEPEST_TARGET::launch(const steepest::ops::Name<float>&, steepest::Stream&); \
    template void steepest::STEEPEST_TARGET::launch(const steepest::ops::Name<double>&, steepest::Stream&);
