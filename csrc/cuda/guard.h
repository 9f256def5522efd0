// The memory through which kernels stop after a failure, see device/guard.cuh.
#pragma once

#include "common/failure.h"
#include "common/macros.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

struct Guard {
    int* stopped = nullptr;     // device memory: 0 until a failure
    Failure* report = nullptr;  // host memory that the device can write
    int64_t* step = nullptr;    // device memory: the current step of a replay
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
