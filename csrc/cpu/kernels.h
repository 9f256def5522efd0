// The kernels of one instruction set: a function for every operation.
#pragma once

#include "cpu/product_plan.h"
#include "cpu/team.h"
#include "ops/all.h"

namespace steepest {

template <class Op>
using Kernel = void (*)(const Op&, Team&);

// The table has an entry for each operation; kernel_of<Op>(table) is at a constant offset.
template <class Op>
struct KernelEntry {
    Kernel<Op> run;
};

template <class... Ops>
struct KernelEntries : KernelEntry<Ops>... {};

#define STEEPEST_TWO_FORMS(Name) ops::Name<float>, ops::Name<double>,
#define STEEPEST_ONE_FORM(Name) ops::Name,
struct EndOfOperations {};
using OperationKernels = KernelEntries<STEEPEST_FLOAT_OPERATIONS(STEEPEST_TWO_FORMS)
                                           STEEPEST_OTHER_OPERATIONS(STEEPEST_ONE_FORM) EndOfOperations>;
#undef STEEPEST_TWO_FORMS
#undef STEEPEST_ONE_FORM

// Says how a product of two matrices would be computed, at a precision, by a team of so many threads.
template <class T>
using Explain = ExplainedProduct (*)(MatrixView<const T>, MatrixView<const T>, Precision, int);

struct KernelTable {
    OperationKernels kernels;
    Explain<float> explain_float;
    Explain<double> explain_double;
};

template <class Op>
Kernel<Op> kernel_of(const KernelTable& table) {
    return static_cast<const KernelEntry<Op>&>(table.kernels).run;
}

}  // namespace steepest
