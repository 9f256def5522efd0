// While an object is in scope, its thread treats subnormal numbers as zero. Decaying moments and vanishing
// probabilities pass through the subnormal range, where x86 is many times slower; numbers of this size do not affect
// learning.
#pragma once

#include "common/macros.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace steepest {
inline namespace STEEPEST_TARGET {

class FlushSubnormals {
  public:
#if defined(__x86_64__)
    STEEPEST_HD FlushSubnormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | kFlushToZero | kDenormalsAreZero); }
    STEEPEST_HD ~FlushSubnormals() { _mm_setcsr(saved_); }

  private:
    static constexpr unsigned kFlushToZero = 1u << 15, kDenormalsAreZero = 1u << 6;
    unsigned saved_;
#else
    STEEPEST_HD FlushSubnormals() {}
    STEEPEST_HD ~FlushSubnormals() {}
#endif
    FlushSubnormals(const FlushSubnormals&) = delete;
    FlushSubnormals& operator=(const FlushSubnormals&) = delete;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
