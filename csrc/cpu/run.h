// Declares run(op, team) for every operation in this instruction set's namespace.
#pragma once

#include "cpu/kernels.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

#define STEEPEST_DECLARE(Name) \
    template <class T>         \
    void run(const ops::Name<T>& op, Team& team);
STEEPEST_FLOAT_OPERATIONS(STEEPEST_DECLARE)
#undef STEEPEST_DECLARE

#define STEEPEST_DECLARE(Name) void run(const ops::Name& op, Team& team);
STEEPEST_OTHER_OPERATIONS(STEEPEST_DECLARE)
#undef STEEPEST_DECLARE

}  // namespace STEEPEST_TARGET
}  // namespace steepest

// Instantiates the two forms of an operation; used at the end of <op>.cpp.
#define STEEPEST_INSTANTIATE(Name)                                                                    \
    template void steepest::STEEPEST_TARGET::run(const steepest::ops::Name<float>&, steepest::Team&); \
    template void steepest::STEEPEST_TARGET::run(const steepest::ops::Name<double>&, steepest::Team&);
