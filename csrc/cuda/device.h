// The CUDA devices of this machine, and what stands in the way of using one.
#pragma once

#include <string>

#include "cuda/error.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

struct Device {
    int id = 0;
    int multiprocessors = 1;
};

// "" where CUDA can be used; otherwise a sentence that says what is missing and what to do.
std::string cuda_problem();

// Throws CudaError where CUDA cannot be used; in a forked child too, which has none of its parent's connection to the
// driver.
void require_cuda();

// Makes a device current on this thread, for the copy of the CUDA runtime that is linked here: CuPy has another, and
// may have turned to a device that this one knows nothing of.
const Device& use_device(int id);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
