// The module cuda_standin_cupy: steepest._cuda to the letter, but for the GPU. Its arrays are those of the module that is
// imported by the name of cupy; errors in the data are raised late, as they are there.
#include "bindings/cuda_module.h"
#include "bindings/cupy_arrays.h"

PYBIND11_MODULE(cuda_standin_cupy, m) {
    m.doc() = "The CUDA kernels of steepest on the stand-in for CUDA, for CuPy's arrays.";
    steepest::export_cuda_module<steepest::CupyArrays>(m);
}
