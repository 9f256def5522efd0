#include "cpu/isa.h"

#include <stdexcept>

#include "cpu/kernel_table.h"

namespace steepest {
namespace {

Isa active{"generic", &generic::kKernels};

bool processor_has(const std::string& name) {
    if (name == "generic") return true;
#if defined(STEEPEST_HAVE_X86)
    // These built-ins also check that the operating system saves the wide registers.
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (name == "avx2") return avx2;
    if (name == "avx512")
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    return false;
}

std::string joined(const std::vector<Isa>& isas) {
    std::string text;
    for (const Isa& isa : isas) text += (text.empty() ? "" : ", ") + std::string(isa.name);
    return text;
}

}  // namespace

std::vector<Isa> built_isas() {
    std::vector<Isa> isas{{"generic", &generic::kKernels}};
#if defined(STEEPEST_HAVE_X86)
    isas.push_back({"avx2", &avx2::kKernels});
    isas.push_back({"avx512", &avx512::kKernels});
#endif
    return isas;
}

std::vector<Isa> available_isas() {
    std::vector<Isa> isas;
    for (const Isa& isa : built_isas())
        if (processor_has(isa.name)) isas.push_back(isa);
    return isas;
}

void select_isa(const char* forced) {
    const std::vector<Isa> isas = available_isas();
    if (!forced || !*forced) {
        active = isas.back();
        return;
    }
    for (const Isa& isa : isas) {
        if (isa.name != std::string(forced)) continue;
        active = isa;
        return;
    }
    throw std::invalid_argument("STEEPEST_ISA is '" + std::string(forced) +
                                "', but this build on this processor has: " + joined(isas));
}

const Isa& active_isa() { return active; }

}  // namespace steepest
