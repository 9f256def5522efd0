// The parts of an operation's contract: how it uses its arrays, and how it rejects its arguments.
//
// An operation is plain data. It offers
//     kName                 the name in error messages and profiles
//     visit(v)              calls v(use, name, view) for every array it touches, workspaces and 0-d arrays included
//     check()               throws std::invalid_argument if shapes or numbers break the contract
//     flops()               floating-point operations, for profiles and for choosing the number of threads
//     most_members()        optional: the largest number of threads that the operation can use
//     kMayFail              optional: true if a run can fail because of values in the data, such as labels
#pragma once

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

#include "common/views.h"

namespace steepest::ops {

// How an operation uses an array. The barriers of graphs (accesses.h), the bytes in profiles (profile.h) and the check
// for overlapping outputs (overlap.h) follow from what visit() reports.
enum Use : int8_t {
    kRead,
    kWrite,
    kUpdate,      // read and written
    kReadItems,   // read, each item before the same item of a kWriteItems array is written
    kWriteItems,  // written item by item: it may be the same memory as a kReadItems array
};

constexpr bool writes(Use use) { return use != kRead && use != kReadItems; }

// A 0-d array, as a vector of one item.
template <class T>
VectorView<T> one_item(T* data) {
    return {data, 1, 1};
}

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

// A shape, which becomes text only when a message needs it.
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

template <class T>
std::string shape_of(const TensorView<T>& t) {
    std::ostringstream text;
    text << '(';
    for (int d = 0; d < t.axes; ++d) text << (d ? ", " : "") << t.extent[d];
    text << (t.axes == 1 ? ",)" : ")");
    return text.str();
}

template <class A, class B>
void require_same_shape(const char* name, const char* a_name, const MatrixView<A>& a, const char* b_name,
                        const MatrixView<B>& b) {
    require(a.rows == b.rows && a.cols == b.cols, name, a_name, " has shape ", shape_of(a), ", but ", b_name,
            " has shape ", shape_of(b));
}

// The number of threads, at most `threads`, that an operation runs on.
template <class Op>
int members_of(const Op& op, int threads) {
    if constexpr (requires { op.most_members(); })
        if (op.most_members() < threads) return op.most_members() < 1 ? 1 : static_cast<int>(op.most_members());
    return threads;
}

// The name of an operation in messages and profiles: name() if it has one, which may depend on its fields, else kName.
template <class Op>
const char* name_of(const Op& op) {
    if constexpr (requires { op.name(); })
        return op.name();
    else
        return op.kName;
}

template <class Op>
constexpr bool kMayFail = requires { requires Op::kMayFail; };

}  // namespace steepest::ops
