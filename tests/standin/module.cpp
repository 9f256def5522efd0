// The module cuda_standin: what steepest._cuda exports, on NumPy arrays and without a GPU.
#include "bindings/cuda_module.h"
#include "bindings/numpy_arrays.h"
#include "standin/selftest.h"

namespace {

struct HostArrays : steepest::NumpyArrays {
    static constexpr bool kWaits = true;  // the results are there when a call returns, as with NumPy
    inline static int device = 0;
    static int current_device() { return device; }
    static cudaStream_t current_stream() { return nullptr; }
};

}  // namespace

PYBIND11_MODULE(cuda_standin, m) {
    m.doc() = "The CUDA kernels of steepest on the stand-in for CUDA.";
    steepest::export_cuda_module<HostArrays>(m);
    m.def("set_device", [](int id) { HostArrays::device = id; });
    steepest::export_plans(m);
    steepest::export_selftest(m.def_submodule("selftest", "Kernels that test the stand-in itself."));
}
