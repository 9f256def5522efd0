// The module cuda_standin_cupy: steepest._cuda to the letter, but for the GPU. Its arrays are those of the module that is
// imported by the name of cupy; errors in the data are raised late, as they are there.
#include <pybind11/numpy.h>

#include "bindings/cuda_module.h"
#include "bindings/cupy_arrays.h"
#include "standin/memory.h"

namespace py = pybind11;

namespace {

// Bytes of the device at their addresses for the host. The device takes them back when it has done what it was given
// before: to a kernel that was launched they are there, as in the pool of CuPy.
py::array_t<uint8_t> device_memory(size_t bytes) {
    void* memory = nullptr;
    STEEPEST_CUDA_CHECK(cudaMalloc(&memory, bytes));
    const py::capsule owner(memory, [](void* m) { standin::submit(nullptr, [m] { standin::release(m); }); });
    return py::array_t<uint8_t>(static_cast<py::ssize_t>(bytes), static_cast<uint8_t*>(standin::host_address(memory)),
                                owner);
}

// The address for kernels of memory that has this address for the host, or 0 where it is none of the device's.
uintptr_t device_address(uintptr_t on_host) {
    // NumPy gives addresses as integers.
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    return reinterpret_cast<uintptr_t>(standin::device_address(reinterpret_cast<const void*>(on_host)));
}

uintptr_t create_stream() {
    cudaStream_t stream = nullptr;
    STEEPEST_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return reinterpret_cast<uintptr_t>(stream);
}

// NOLINTNEXTLINE(performance-no-int-to-ptr)
void destroy_stream(uintptr_t stream) { cudaStreamDestroy(reinterpret_cast<cudaStream_t>(stream)); }

}  // namespace

PYBIND11_MODULE(cuda_standin_cupy, m) {
    m.doc() = "The CUDA kernels of steepest on the stand-in for CUDA, for CuPy's arrays.";
    steepest::export_cuda_module<steepest::CupyArrays>(m);
    py::module_ runtime = m.def_submodule("runtime", "What CuPy does itself: memory and streams.");
    runtime.def("device_memory", &device_memory);
    runtime.def("device_address", &device_address);
    runtime.def("wait_for_device", &standin::wait_for_device);
    runtime.def("create_stream", &create_stream);
    runtime.def("destroy_stream", &destroy_stream);
}
