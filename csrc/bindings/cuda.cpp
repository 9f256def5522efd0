// The module steepest._cuda. It imports on a machine without a driver.
#include "bindings/cuda_module.h"
#include "bindings/cupy_arrays.h"

PYBIND11_MODULE(_cuda, m) {
    m.doc() = "The CUDA kernels of steepest.";
    steepest::export_cuda_module<steepest::CupyArrays>(m);
}
