// The kernel table of one instruction set.
#include "cpu/gemm_plan.h"
#include "cpu/run.h"

namespace steepest::STEEPEST_TARGET {

extern const KernelTable kKernels;  // without extern, a constant would be private to this file

#define STEEPEST_TWO_FORMS(Name) {&run<float>}, {&run<double>},
#define STEEPEST_ONE_FORM(Name) {&run},
const KernelTable kKernels = {
    {STEEPEST_FLOAT_OPERATIONS(STEEPEST_TWO_FORMS) STEEPEST_OTHER_OPERATIONS(STEEPEST_ONE_FORM){nullptr}},
    &explained<float>,
    &explained<double>};
#undef STEEPEST_TWO_FORMS
#undef STEEPEST_ONE_FORM

}  // namespace steepest::STEEPEST_TARGET
