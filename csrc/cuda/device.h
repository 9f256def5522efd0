// The CUDA devices of this machine, and what stands in the way of using one.
#pragma once

#include <cstddef>
#include <string>

#include "cuda/error.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

struct Device {
    int id = 0;
    int multiprocessors = 1;
    int capability = 0;        // 90 for 9.0
    size_t shared_memory = 0;  // bytes that a block may ask for
};

// "" where CUDA can be used; otherwise a sentence that says what is missing and what to do.
std::string cuda_problem();

// The device that is current on this thread. Throws CudaError where there is none to use, in a forked child too: a
// child process has none of its parent's connection to the driver.
const Device& current_device();

}  // namespace STEEPEST_TARGET
}  // namespace steepest
