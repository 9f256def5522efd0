// The contents of the module steepest._cuda.
#pragma once

#include "bindings/cuda_backend.h"
#include "bindings/module.h"

namespace steepest {

inline py::dict cuda_info() {
    const auto version_text = [](int version) {
        return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
    };
    py::dict d;
    d["built_for"] = py::str(STEEPEST_CUDA_TARGETS).attr("split")();
    int runtime = 0, driver = 0;
    cudaRuntimeGetVersion(&runtime);
    d["runtime"] = version_text(runtime);
    const bool has_driver = cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0;
    d["driver"] = has_driver ? py::object(py::str(version_text(driver))) : py::none();
    const std::string problem = cuda_problem();
    d["problem"] = problem;
    py::list devices;
    int count = 0;
    if (problem.empty()) STEEPEST_CUDA_CHECK(cudaGetDeviceCount(&count));
    for (int id = 0; id < count; ++id) {
        cudaDeviceProp properties;
        STEEPEST_CUDA_CHECK(cudaGetDeviceProperties(&properties, id));
        py::dict device;
        device["name"] = properties.name;
        device["capability"] = std::to_string(properties.major) + "." + std::to_string(properties.minor);
        device["memory"] = properties.totalGlobalMem;
        device["multiprocessors"] = properties.multiProcessorCount;
        devices.append(device);
    }
    d["devices"] = devices;
    return d;
}

template <class Arrays>
void export_cuda_module(py::module_& m) {
    using Backend = CudaBackend<Arrays>;
    m.attr("DivergenceError") = py::module_::import("steepest._cpu").attr("DivergenceError");
    translate_divergence_error(py::object(m.attr("DivergenceError")).release());
    export_operations<Backend>(m);
    export_graph<Backend>(m);
    m.def("info", &cuda_info);
    m.def("synchronize", &Backend::synchronize);
}

}  // namespace steepest
