// The instruction sets that this build has kernels for, and those that this processor has.
#pragma once

#include <string>
#include <vector>

#include "cpu/kernels.h"

namespace steepest {

struct Isa {
    const char* name;
    const KernelTable* kernels;
};

// In order, from the least to the most capable.
std::vector<Isa> built_isas();
std::vector<Isa> available_isas();

// Selects the best available instruction set, or `forced`, the value of STEEPEST_ISA. Throws std::invalid_argument if
// that is not available.
void select_isa(const char* forced);
const Isa& active_isa();

}  // namespace steepest
