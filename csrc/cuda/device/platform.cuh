// The platform of the kernels: the CUDA execution model, or its stand-in, which runs kernels on the host in tests.
#pragma once

#if defined(STEEPEST_STANDIN)
#include "standin/cuda.h"
#else
#include <cuda_runtime.h>
#endif

#include <cstdint>

#include "common/macros.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// The number of items in the 16 bytes that a thread loads or stores with one instruction.
template <class T>
constexpr int kVectorWidth = 16 / sizeof(T);

// W items that are loaded and stored by one instruction.
template <class T, int W>
struct alignas(sizeof(T) * W) Vector {
    T item[W];

    STEEPEST_HD T& operator[](int i) { return item[i]; }
    STEEPEST_HD const T& operator[](int i) const { return item[i]; }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
