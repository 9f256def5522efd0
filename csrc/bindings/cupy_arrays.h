// CuPy arrays as the bindings see them, and arrays of other libraries on a CUDA device.
#pragma once

#include <pybind11/gil_safe_call_once.h>

#include "bindings/dtypes.h"
#include "cuda/device.h"

namespace steepest {

struct CupyArrays {
    // Kernels run asynchronously: their failures are raised later.
    static constexpr bool kWaits = false;

    static bool is_array(py::handle object) { return py::isinstance(object, cupy().ndarray); }
    static bool is_writeable(py::handle) { return true; }  // CuPy has no read-only arrays

    static Array borrow(const char* name, const char* what, py::handle object) {
        const bool is_own = is_array(object);
        py::object array = is_own ? py::reinterpret_borrow<py::object>(object) : imported(name, what, object);
        const py::object memory = array.attr("data");
        const int device = py::cast<int>(memory.attr("device_id")), current = current_device();
        if (device != current)
            ops::reject(name, what, " is on CUDA device ", device, ", but device ", current,
                        " is the current one; call inside `with cupy.cuda.Device(", device,
                        "):`, or copy the array there");
        Array result = view_of(name, what, std::move(array), memory);
        // CuPy has no read-only arrays, and does not keep the flag of arrays that it imports.
        if (!is_own)
            result.read_only =
                "is an array of another library, which may be read-only; to write to it, pass cupy.from_dlpack of it";
        return result;
    }

    static Array empty(const std::vector<int64_t>& shape, DType dtype) {
        require_cuda();  // before CuPy raises an error of its own
        return new_array(shape, py::str(name_of(dtype)));
    }

    static Array empty_like(const Array& array, const std::vector<int64_t>& shape) {
        return new_array(shape, array.object.attr("dtype"));
    }

    static int current_device() {
        require_cuda();
        return py::cast<int>(cupy().get_device());
    }

    static cudaStream_t current_stream() {
        // CuPy returns addresses as integers.
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
        return reinterpret_cast<cudaStream_t>(py::cast<uintptr_t>(cupy().get_current_stream().attr("ptr")));
    }

  private:
    struct Names {
        py::object ndarray, empty, from_dlpack, get_current_stream, get_device;
    };

    static const Names& cupy() {
        PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<Names> names;
        return names
            .call_once_and_store_result([] {
                try {
                    const auto module = py::module_::import("cupy");
                    return Names{module.attr("ndarray"), module.attr("empty"), module.attr("from_dlpack"),
                                 module.attr("cuda").attr("get_current_stream"),
                                 module.attr("cuda").attr("runtime").attr("getDevice")};
                } catch (py::error_already_set& error) {
                    py::raise_from(error, PyExc_ImportError,
                                   "[cuda] CUDA kernels work on CuPy arrays: pip install cupy-cuda" STEEPEST_CUDA_MAJOR
                                   "x");
                    throw py::error_already_set();
                }
            })
            .get_stored();
    }

    static py::object imported(const char* name, const char* what, py::handle object) {
        const std::string type = Py_TYPE(object.ptr())->tp_name;
        const std::string prefix = "[" + std::string(name) + "] " + what;
        if (!py::hasattr(object, "__dlpack_device__"))
            throw py::type_error(prefix + " must be a CuPy array, not " + type);
        constexpr int kCuda = 2, kCudaManaged = 13;  // kDLCUDA, kDLCUDAManaged
        const int device = dlpack_device(prefix, object);
        if (device != kCuda && device != kCudaManaged)
            throw py::type_error(prefix + " is a " + type +
                                 " in host memory, among CuPy arrays; copy it to the GPU with cupy.asarray");
        return import_dlpack(prefix, cupy().from_dlpack, object);
    }

    static Array new_array(const std::vector<int64_t>& shape, const py::object& dtype) {
        py::tuple lengths(shape.size());
        for (size_t d = 0; d < shape.size(); ++d) lengths[d] = shape[d];
        py::object array = cupy().empty(lengths, dtype);
        const py::object memory = array.attr("data");
        return view_of("empty", "array", std::move(array), memory);
    }

    static Array view_of(const char* name, const char* what, py::object array, const py::object& memory) {
        Array result;
        const py::object dtype = array.attr("dtype");
        const py::tuple shape = array.attr("shape"), strides = array.attr("strides");
        result.dtype = dtype_of(dtype.ptr());
        result.item_bytes = py::reinterpret_borrow<py::dtype>(dtype).itemsize();
        result.ndim = static_cast<int>(shape.size());
        for (int d = 0; d < result.ndim && d < kMaxDims; ++d)
            result.shape[d] = py::cast<int64_t>(shape[d]), result.strides[d] = py::cast<int64_t>(strides[d]);
        const auto address = py::cast<uintptr_t>(memory.attr("ptr"));
        // An empty array has no memory, but its address must not be null, which means an absent array.
        result.data = reinterpret_cast<char*>(address ? address : uintptr_t{256});  // NOLINT(performance-no-int-to-ptr)
        result.object = std::move(array);
        require_whole_items(name, what, result);
        return result;
    }
};

}  // namespace steepest
