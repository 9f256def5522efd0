// What the module offers beside the operations: kernels that test the stand-in itself, and looks behind the scenes.
#pragma once

#include <pybind11/pybind11.h>

namespace steepest {
inline namespace STEEPEST_TARGET {

void export_selftest(pybind11::module_ m);

// Exports gemm_plan: which tiles a matrix product is cut into.
void export_plans(pybind11::module_ m);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
