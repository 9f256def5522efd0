// The instruction sets of this build and of this processor.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernels.h"

namespace steepest {

struct Isa {
    const char* name;
    const KernelTable* kernels;
};

// From the least to the most capable.
std::vector<Isa> built_isas();
std::vector<Isa> available_isas();

// The best available one, or the one that STEEPEST_ISA names; std::invalid_argument if that is not available.
void select_isa(const char* forced);
const Isa& active_isa();

}  // namespace steepest
