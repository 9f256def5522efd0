// What every operation's contract is written with: the error it throws, and the tests for overlapping memory.
//
// An operation is plain data. It offers
//     kName                 the name in error messages and profiles
//     visit(v)              calls v.read(view) and v.write(view) for every array it touches
//     check()               throws std::invalid_argument where shapes or aliasing break the contract
//     flops()               floating-point operations, for profiles and for choosing the number of threads
//     most_members()        where only so many threads find work, whatever there is of it
//     kMayFail              present and true where the data can be wrong in a way that only running it shows
#pragma once

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

#include "common/views.h"

namespace steepest::ops {

template <class... Parts>
[[noreturn]] void reject(const char* name, const Parts&... parts) {
    std::ostringstream text;
    text << '[' << name << "] ";
    (text << ... << parts);
    throw std::invalid_argument(text.str());
}

template <class... Parts>
void require(bool condition, const char* name, const Parts&... parts) {
    if (!condition) reject(name, parts...);
}

// A shape, turned into text only where a message needs it.
struct ShapeText {
    int64_t rows, cols;  // rows < 0 for a vector

    friend std::ostream& operator<<(std::ostream& out, const ShapeText& s) {
        return s.rows < 0 ? out << '(' << s.cols << ",)" : out << '(' << s.rows << ", " << s.cols << ')';
    }
};

template <class T>
ShapeText shape_of(const MatrixView<T>& m) {
    return {m.rows, m.cols};
}

template <class T>
ShapeText shape_of(const VectorView<T>& v) {
    return {-1, v.size};
}

// The bytes from the first to the last item of a view, and how its rows repeat within them.
struct MemoryRange {
    uintptr_t begin = 0, end = 0;
    int64_t pitch = 0;  // bytes from row to row (or column to column), 0 for a single item
    int64_t width = 0;  // bytes from the first to the last item of one row (column)

    bool empty() const { return begin == end; }
};

template <class T>
MemoryRange memory_range(const MatrixView<T>& m) {
    if (!m.data || m.rows == 0 || m.cols == 0) return {};
    constexpr int64_t kItem = sizeof(T);
    const int64_t down = (m.rows - 1) * m.row_stride * kItem, right = (m.cols - 1) * m.col_stride * kItem;
    const auto first = reinterpret_cast<uintptr_t>(m.data);
    const int64_t low = (down < 0 ? down : 0) + (right < 0 ? right : 0);
    const int64_t high = (down > 0 ? down : 0) + (right > 0 ? right : 0) + kItem;
    // The larger of the two steps is the pitch, in whichever order the matrix is stored.
    const int64_t row_step = m.rows > 1 ? magnitude(m.row_stride) * kItem : 0;
    const int64_t col_step = m.cols > 1 ? magnitude(m.col_stride) * kItem : 0;
    const int64_t pitch = row_step > col_step ? row_step : col_step;
    const int64_t inner = row_step > col_step ? col_step * (m.cols - 1) : row_step * (m.rows - 1);
    return {first + low, first + high, pitch, inner + kItem};
}

template <class T>
MemoryRange memory_range(const VectorView<T>& v) {
    return memory_range(MatrixView<T>{v.data, 1, v.size, 0, v.stride});
}

template <class T>
MemoryRange memory_range(const ScalarView<T>& s) {
    return memory_range(MatrixView<const T>{s.data, 1, 1, 0, 1});
}

inline MemoryRange memory_range(const IntegerVectorView& v) {
    if (!v.data || v.size == 0) return {};
    const auto first = reinterpret_cast<uintptr_t>(v.data);
    const int64_t span = (v.size - 1) * v.stride;
    return {first + (span < 0 ? span : 0), first + (span > 0 ? span : 0) + 8, 0, 0};
}

// Whether two ranges may share an item. Columns of one matrix (equal pitch, disjoint within a row) do not.
inline bool overlap(const MemoryRange& a, const MemoryRange& b) {
    if (a.empty() || b.empty() || a.end <= b.begin || b.end <= a.begin) return false;
    const int64_t pitch = a.pitch ? a.pitch : b.pitch;
    if (pitch == 0 || (a.pitch && b.pitch && a.pitch != b.pitch)) return true;
    if (a.width > pitch || b.width > pitch) return true;
    int64_t offset = static_cast<int64_t>(b.begin - a.begin) % pitch;
    if (offset < 0) offset += pitch;
    return offset < a.width || offset + b.width > pitch;
}

template <class A, class B>
void require_apart(const char* name, const char* a_name, const A& a, const char* b_name, const B& b) {
    if (overlap(memory_range(a), memory_range(b))) reject(name, a_name, " overlaps ", b_name, " in memory");
}

// For element-wise operations: the very same items, or none of them.
template <class A, class B>
void require_same_or_apart(const char* name, const char* a_name, const MatrixView<A>& a, const char* b_name,
                           const MatrixView<B>& b) {
    const bool same = static_cast<const void*>(a.data) == static_cast<const void*>(b.data) &&
                      a.row_stride == b.row_stride && a.col_stride == b.col_stride;
    if (!same) require_apart(name, a_name, a, b_name, b);
}

template <class A, class B>
void require_same_shape(const char* name, const char* a_name, const MatrixView<A>& a, const char* b_name,
                        const MatrixView<B>& b) {
    require(a.rows == b.rows && a.cols == b.cols, name, a_name, " has shape ", shape_of(a), ", but ", b_name,
            " has shape ", shape_of(b));
}

// How many of `threads` an operation is worth.
template <class Op>
int members_of(const Op& op, int threads) {
    if constexpr (requires { op.most_members(); })
        if (op.most_members() < threads) return op.most_members() < 1 ? 1 : static_cast<int>(op.most_members());
    return threads;
}

template <class Op>
constexpr bool kMayFail = requires { requires Op::kMayFail; };

}  // namespace steepest::ops
