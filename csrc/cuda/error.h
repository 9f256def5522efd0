// Every CUDA call is checked; a failed call becomes an exception.
#pragma once

#include <new>
#include <stdexcept>
#include <string>

#include "cuda/device/platform.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

struct CudaError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Becomes a MemoryError in Python.
class OutOfDeviceMemory : public std::bad_alloc {
  public:
    explicit OutOfDeviceMemory(std::string text) : text_(std::move(text)) {}
    const char* what() const noexcept override { return text_.c_str(); }

  private:
    std::string text_;
};

inline void check(cudaError_t error, const char* call) {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // clears the error, which would be reported again otherwise
    throw CudaError(std::string("[cuda] ") + call + ": " + cudaGetErrorString(error));
}

#define STEEPEST_CUDA_CHECK(call) ::steepest::check((call), #call)

}  // namespace STEEPEST_TARGET
}  // namespace steepest
