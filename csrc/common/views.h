// Non-owning, strided views of the user's arrays. Strides count items, not bytes, and may be zero or negative.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace steepest {

STEEPEST_HD constexpr int64_t magnitude(int64_t stride) { return stride < 0 ? -stride : stride; }

template <class T>
struct VectorView {
    T* data = nullptr;
    int64_t size = 0;
    int64_t stride = 1;

    STEEPEST_HD T& operator[](int64_t i) const { return data[i * stride]; }
    STEEPEST_HD explicit operator bool() const { return data != nullptr; }
};

template <class T>
struct MatrixView {
    T* data = nullptr;
    int64_t rows = 0;
    int64_t cols = 0;
    int64_t row_stride = 0;
    int64_t col_stride = 1;

    STEEPEST_HD T& operator()(int64_t i, int64_t j) const { return data[i * row_stride + j * col_stride]; }
    STEEPEST_HD T* row(int64_t i) const { return data + i * row_stride; }
    STEEPEST_HD explicit operator bool() const { return data != nullptr; }
    STEEPEST_HD MatrixView transposed() const { return {data, cols, rows, col_stride, row_stride}; }
    STEEPEST_HD MatrixView block(int64_t i, int64_t j, int64_t n_rows, int64_t n_cols) const {
        return {data + i * row_stride + j * col_stride, n_rows, n_cols, row_stride, col_stride};
    }
};

// Axes of an array as the functions of Python take it, and those of a view: of an array of bytes, an item's bytes are
// one more.
constexpr int kMaxArrayAxes = 5;
constexpr int kMaxAxes = kMaxArrayAxes + 1;

STEEPEST_HD int64_t product_of(const int64_t* extent, int axes) {
    int64_t n = 1;
    for (int d = 0; d < axes; ++d) n *= extent[d];
    return n;
}

// Items along any number of axes, the last one innermost; without axes, a single item.
template <class T>
struct TensorView {
    T* data = nullptr;
    int axes = 0;
    int64_t extent[kMaxAxes] = {};
    int64_t stride[kMaxAxes] = {};

    STEEPEST_HD explicit operator bool() const { return data != nullptr; }
    STEEPEST_HD int64_t size() const { return product_of(extent, axes); }
};

// Whether a view's items along its last axis are whole words of `bytes` bytes, each of them aligned.
template <class T>
STEEPEST_HD bool is_in_words(const TensorView<T>& view, int64_t bytes) {
    constexpr int64_t kItem = sizeof(T);
    const int last = view.axes - 1;
    if (bytes == kItem) return true;
    if (view.stride[last] != 1 || view.extent[last] * kItem % bytes != 0) return false;
    if (reinterpret_cast<uintptr_t>(view.data) % bytes != 0) return false;
    for (int d = 0; d < last; ++d)
        if (view.stride[d] * kItem % bytes != 0) return false;
    return true;
}

// Some axes of N views of one shape, to walk along: the extents that they share, and the strides of each.
template <int N>
struct CommonAxes {
    int axes = 0;
    int64_t extent[kMaxAxes] = {};
    int64_t stride[N][kMaxAxes] = {};

    // Adds an axis of the views, inside those that are there.
    template <class First, class... Rest>
    STEEPEST_HD void add(int axis, const First& first, const Rest&... rest) {
        static_assert(1 + sizeof...(Rest) == N);
        const int64_t strides[N] = {first.stride[axis], rest.stride[axis]...};
        extent[axes] = first.extent[axis];
        for (int v = 0; v < N; ++v) stride[v][axes] = strides[v];
        ++axes;
    }

    STEEPEST_HD int64_t places() const { return product_of(extent, axes); }
};

// A number that is either frozen when an operation is made or read from the user's 0-d array when it runs.
template <class T>
struct ScalarView {
    const T* data = nullptr;
    T value = T();

    STEEPEST_HD T get() const { return data ? *data : value; }
};

enum class IntegerType : int8_t { kInt8, kInt16, kInt32, kInt64, kUint8, kUint16, kUint32, kUint64 };

// The bytes of an item: the types are the four signed widths, then the four unsigned ones.
constexpr int64_t item_bytes(IntegerType type) { return int64_t{1} << static_cast<int>(type) % 4; }

// A vector of integers of any width; the stride is in bytes.
struct IntegerVectorView {
    const char* data = nullptr;
    int64_t size = 0;
    int64_t stride = 0;
    IntegerType type = IntegerType::kInt64;

    STEEPEST_HD explicit operator bool() const { return data != nullptr; }
    STEEPEST_HD int64_t operator[](int64_t i) const {
        const char* at = data + i * stride;
        switch (type) {
            case IntegerType::kInt8: return *reinterpret_cast<const int8_t*>(at);
            case IntegerType::kInt16: return *reinterpret_cast<const int16_t*>(at);
            case IntegerType::kInt32: return *reinterpret_cast<const int32_t*>(at);
            case IntegerType::kInt64: return *reinterpret_cast<const int64_t*>(at);
            case IntegerType::kUint8: return *reinterpret_cast<const uint8_t*>(at);
            case IntegerType::kUint16: return *reinterpret_cast<const uint16_t*>(at);
            case IntegerType::kUint32: return *reinterpret_cast<const uint32_t*>(at);
            // A value above 2^63 wraps to a negative label, which every check rejects.
            case IntegerType::kUint64: return static_cast<int64_t>(*reinterpret_cast<const uint64_t*>(at));
        }
        return -1;
    }
};

}  // namespace steepest
