// The kernel tables that this build holds, one for each instruction set.
#pragma once

#include "cpu/kernels.h"

namespace steepest {

namespace generic {
extern const KernelTable kKernels;
}
#if defined(STEEPEST_HAVE_X86)
namespace avx2 {
extern const KernelTable kKernels;
}
namespace avx512 {
extern const KernelTable kKernels;
}
#endif

}  // namespace steepest
