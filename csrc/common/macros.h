// Compiler and target macros shared by host and device code.
#pragma once

#if defined(__CUDACC__)
#define STEEPEST_HD __host__ __device__ __forceinline__
#elif defined(_MSC_VER)
#define STEEPEST_HD __forceinline
#else
// Always inlined, so that no out-of-line copy compiled for one instruction set can be linked into code for another.
#define STEEPEST_HD inline __attribute__((always_inline))
#endif

// Each kernel source is compiled once per target; its functions live in steepest::<target>.
#ifndef STEEPEST_TARGET
#define STEEPEST_TARGET generic
#endif
