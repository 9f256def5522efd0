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

// A number that is either frozen when an operation is made or read from the user's 0-d array when it runs.
template <class T>
struct ScalarView {
    const T* data = nullptr;
    T value = T();

    STEEPEST_HD T get() const { return data ? *data : value; }
};

enum class IntegerType : int8_t { kInt8, kInt16, kInt32, kInt64, kUint8, kUint16, kUint32, kUint64 };

// The four widths, signed and then unsigned.
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
