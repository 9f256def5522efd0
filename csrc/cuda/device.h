// The CUDA devices of this machine, and the reasons why CUDA cannot be used.
#pragma once

#include <string>

#include "cuda/error.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

struct Device {
    int id = 0;
    int multiprocessors = 1;
};

// "" if CUDA can be used; otherwise a sentence that says what is missing and what to do.
std::string cuda_problem();

// Throws CudaError if CUDA cannot be used. A forked child cannot: it does not inherit its parent's connection to the
// driver.
void require_cuda();

// Makes a device current on this thread, for the copy of the CUDA runtime that is linked here. CuPy has another copy,
// and may have switched to a device without notice to this one.
const Device& use_device(int id);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
