// The module cuda_standin: what steepest._cuda exports, on NumPy arrays and without a GPU.
#include "bindings/cuda_module.h"
#include "bindings/numpy_arrays.h"
#include "standin/selftest.h"

namespace {

struct HostArrays : steepest::NumpyArrays {
    static constexpr bool kWaits = true;  // kernels have ended when their launch returns
    static int current_device() { return 0; }
    static cudaStream_t current_stream() { return nullptr; }
};

}  // namespace

PYBIND11_MODULE(cuda_standin, m) {
    m.doc() = "The CUDA kernels of steepest on the stand-in for CUDA.";
    steepest::export_cuda_module<HostArrays>(m);
    steepest::export_plans(m);
    steepest::export_selftest(m.def_submodule("selftest", "Kernels that test the stand-in itself."));
}
