// NumPy arrays as the bindings see them, and arrays of other libraries in host memory.
#pragma once

#include <pybind11/numpy.h>

#include "bindings/dtypes.h"

namespace steepest {

struct NumpyArrays {
    static bool is_array(py::handle object) { return py::isinstance<py::array>(object); }
    static bool is_writeable(py::handle array) { return py::reinterpret_borrow<py::array>(array).writeable(); }

    static Array borrow(const char* name, const char* what, py::handle object) {
        require_no_mask(name, what, object);
        Array result =
            view_of(is_array(object) ? py::reinterpret_borrow<py::array>(object) : imported(name, what, object));
        require_whole_items(name, what, result);
        return result;
    }

    static Array empty(const std::vector<int64_t>& shape, DType dtype) {
        static constexpr const char* kCodes[] = {"f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"};
        switch (dtype) {
            case DType::kFloat32: return view_of(py::array_t<float>(shape));
            case DType::kFloat64: return view_of(py::array_t<double>(shape));
            case DType::kInt64: return view_of(py::array_t<int64_t>(shape));
            default: return view_of(py::array(py::dtype(kCodes[static_cast<int>(dtype)]), shape));
        }
    }

    static Array empty_like(const Array& array, const std::vector<int64_t>& shape) {
        return view_of(py::array(py::reinterpret_borrow<py::array>(array.object).dtype(), shape));
    }

  private:
    // Kernels ignore the mask, so masked items would count.
    static void require_no_mask(const char* name, const char* what, py::handle object) {
        static const py::handle plain = py::object(py::module_::import("numpy").attr("ndarray")).release();
        if (!py::type::of(object).is(plain) && is_array(object) && py::hasattr(object, "mask"))
            throw py::type_error("[" + std::string(name) + "] " + what +
                                 " is a masked array; fill it (x.filled(value)), or remove the masked items");
    }

    // Imports an array of another library in host memory, without a copy.
    static py::array imported(const char* name, const char* what, py::handle object) {
        const std::string type = Py_TYPE(object.ptr())->tp_name;
        const std::string prefix = "[" + std::string(name) + "] " + what;
        if (!py::hasattr(object, "__dlpack_device__"))
            throw py::type_error(prefix + " must be a NumPy array, not " + type);
        constexpr int kHost = 1;  // kDLCPU
        if (dlpack_device(prefix, object) != kHost)
            throw py::type_error(prefix + " is a " + type +
                                 " on another device, among NumPy arrays; copy it to host memory, or all to the GPU");
        return import_dlpack(prefix, py::module_::import("numpy").attr("from_dlpack"), object);
    }

    static Array view_of(const py::array& array) {
        Array result;
        result.object = array;
        result.data = static_cast<char*>(const_cast<void*>(array.data()));
        result.dtype = dtype_of(py::detail::array_proxy(array.ptr())->descr);
        result.item_bytes = array.itemsize();
        result.ndim = static_cast<int>(array.ndim());
        for (int d = 0; d < result.ndim && d < kMaxDims; ++d)
            result.shape[d] = array.shape(d), result.strides[d] = array.strides(d);
        if (!array.writeable()) result.read_only = "is read-only";
        return result;
    }
};

}  // namespace steepest
