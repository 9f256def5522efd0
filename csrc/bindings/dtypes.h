// NumPy's dtypes, which CuPy's arrays have too.
#pragma once

#include <pybind11/numpy.h>

#include "bindings/array.h"

namespace steepest {

inline DType dtype_of(PyObject* descriptor) {
    // Each common dtype is a single object, which its address identifies.
    static const std::pair<PyObject*, DType> kKnown[] = {{py::dtype::of<float>().release().ptr(), DType::kFloat32},
                                                         {py::dtype::of<double>().release().ptr(), DType::kFloat64},
                                                         {py::dtype::of<int64_t>().release().ptr(), DType::kInt64}};
    for (const auto& [known, dtype] : kKnown)
        if (descriptor == known) return dtype;
    const auto type = py::reinterpret_borrow<py::dtype>(descriptor);
    if (type.byteorder() != '=' && type.byteorder() != '|') return DType::kOther;
    const auto bytes = type.itemsize();
    const auto integer = [bytes](DType narrowest) {
        const int width = bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : bytes == 8 ? 3 : -1;
        return width < 0 ? DType::kOther : static_cast<DType>(static_cast<int>(narrowest) + width);
    };
    switch (type.kind()) {
        case 'f': return bytes == 4 ? DType::kFloat32 : bytes == 8 ? DType::kFloat64 : DType::kOther;
        case 'i': return integer(DType::kInt8);
        case 'u': return integer(DType::kUint8);
        default: return DType::kOther;
    }
}

// Calls f, which asks the library of `object` for its array, and turns its exceptions into TypeError.
template <class F>
auto through_dlpack(const std::string& prefix, py::handle object, F&& f) {
    try {
        return f();
    } catch (py::error_already_set& error) {
        if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw;
        throw py::type_error(prefix + " is a " + Py_TYPE(object.ptr())->tp_name +
                             " that cannot be imported through DLPack: " + std::string(py::str(error.value())));
    }
}

inline int dlpack_device(const std::string& prefix, py::handle object) {
    return through_dlpack(prefix, object,
                          [&] { return py::cast<int>(object.attr("__dlpack_device__")().attr("__getitem__")(0)); });
}

inline py::object import_dlpack(const std::string& prefix, py::handle from_dlpack, py::handle object) {
    return through_dlpack(prefix, object, [&] { return py::object(from_dlpack(object)); });
}

// Kernels index items: the address and the strides of an array must be multiples of the item size.
inline void require_whole_items(const char* name, const char* what, const Array& array) {
    if (array.ndim > kMaxDims || array.ndim < 0) ops::reject(name, what, " has too many dimensions");
    if (array.dtype == DType::kOther || array.size() == 0) return;
    bool fits = reinterpret_cast<uintptr_t>(array.data) % array.item_bytes == 0;
    for (int d = 0; d < array.ndim; ++d) fits &= array.shape[d] <= 1 || array.strides[d] % array.item_bytes == 0;
    if (!fits) ops::reject(name, what, " is not aligned, or a stride is no multiple of its item size; pass a copy");
}

}  // namespace steepest
