// An array as the bindings see it, whichever library owns it: the location of its items, and views of them.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "ops/contract.h"

namespace steepest {

namespace py = pybind11;

enum class DType : int8_t {
    kFloat32,
    kFloat64,
    kInt8,
    kInt16,
    kInt32,
    kInt64,
    kUint8,
    kUint16,
    kUint32,
    kUint64,
    kOther
};

template <class T>
constexpr DType dtype_of() {
    if constexpr (std::is_same_v<T, float>) return DType::kFloat32;
    if constexpr (std::is_same_v<T, double>) return DType::kFloat64;
    if constexpr (std::is_same_v<T, int64_t>) return DType::kInt64;
    if constexpr (std::is_same_v<T, uint64_t>) return DType::kUint64;
    return DType::kOther;
}

inline const char* name_of(DType dtype) {
    static constexpr const char* kNames[] = {"float32", "float64", "int8",   "int16",  "int32",
                                             "int64",   "uint8",   "uint16", "uint32", "uint64"};
    return dtype == DType::kOther ? "other" : kNames[static_cast<int>(dtype)];
}

inline bool is_float(DType d) { return d == DType::kFloat32 || d == DType::kFloat64; }
inline bool is_integer(DType d) { return d >= DType::kInt8 && d <= DType::kUint64; }

constexpr int kMaxDims = 8;

inline std::string shape_text(const std::vector<int64_t>& shape) {
    std::ostringstream text;
    text << '(';
    for (size_t d = 0; d < shape.size(); ++d) text << (d ? ", " : "") << shape[d];
    text << (shape.size() == 1 ? ",)" : ")");
    return text.str();
}

struct Array {
    py::object object;
    char* data = nullptr;
    DType dtype = DType::kOther;
    int64_t item_bytes = 0;
    int ndim = 0;
    int64_t shape[kMaxDims] = {};
    int64_t strides[kMaxDims] = {};   // in bytes
    const char* read_only = nullptr;  // null, or the reason why it must not be written to

    explicit operator bool() const { return static_cast<bool>(object); }

    int64_t size() const {
        int64_t n = 1;
        for (int d = 0; d < ndim; ++d) n *= shape[d];
        return n;
    }

    bool is_contiguous() const {
        if (size() == 0) return true;
        int64_t expected = item_bytes;
        for (int d = ndim - 1; d >= 0; --d) {
            if (shape[d] != 1 && strides[d] != expected) return false;
            expected *= shape[d];
        }
        return true;
    }

    std::vector<int64_t> shape_vector() const { return {shape, shape + ndim}; }

    std::string shape_text() const { return steepest::shape_text(shape_vector()); }

    // Whether the items of each row follow one another.
    bool has_contiguous_rows() const {
        return ndim < 2 || shape[ndim - 1] <= 1 || size() == 0 || strides[ndim - 1] == item_bytes;
    }

    bool same_shape(const Array& other) const {
        if (ndim != other.ndim) return false;
        for (int d = 0; d < ndim; ++d)
            if (shape[d] != other.shape[d]) return false;
        return true;
    }

    // Absent arrays give absent (null) views. An empty array keeps a non-null pointer, which is never read.
    template <class T>
    MatrixView<T> matrix() const {
        if (!object) return {};
        return {reinterpret_cast<T*>(data), shape[0], shape[1], strides[0] / item_bytes, strides[1] / item_bytes};
    }

    template <class T>
    VectorView<T> vector() const {
        if (!object) return {};
        return {reinterpret_cast<T*>(data), shape[0], strides[0] / item_bytes};
    }

    // Whether an array can be seen as a matrix: 2-D arrays as they are, 1-D and 0-D ones as one row, contiguous ones of
    // any shape as one long row.
    bool has_matrix_form() const { return ndim <= 2 || is_contiguous(); }

    template <class T>
    MatrixView<T> as_matrix() const {
        if (!object) return {};
        if (ndim == 2) return matrix<T>();
        const int64_t stride = ndim == 1 ? strides[0] / item_bytes : 1;
        return {reinterpret_cast<T*>(data), 1, size(), 0, stride};
    }

    // Any shape of at most kMaxArrayAxes dimensions.
    template <class T>
    TensorView<T> tensor() const {
        TensorView<T> view{reinterpret_cast<T*>(data), ndim, {}, {}};
        for (int d = 0; d < ndim; ++d) view.extent[d] = shape[d], view.stride[d] = strides[d] / item_bytes;
        return view;
    }

    // The same as bytes, those of an item along an axis of their own.
    template <class C>
    TensorView<C> tensor_of_bytes() const {
        TensorView<C> view{reinterpret_cast<C*>(data), ndim + 1, {}, {}};
        for (int d = 0; d < ndim; ++d) view.extent[d] = shape[d], view.stride[d] = strides[d];
        view.extent[ndim] = item_bytes, view.stride[ndim] = 1;
        return view;
    }

    template <class T>
    VectorView<T> as_row() const {
        return {reinterpret_cast<T*>(data), size(), 1};
    }

    IntegerVectorView integers() const {
        if (!object) return {};
        return {data, shape[0], strides[0],
                static_cast<IntegerType>(static_cast<int>(dtype) - static_cast<int>(DType::kInt8))};
    }
};

}  // namespace steepest
