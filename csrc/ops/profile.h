// What graphs report about their operations.
#pragma once

#include "common/failure.h"
#include "common/views.h"

namespace steepest::ops {

// Adds up the bytes of the arrays that an operation touches.
struct ByteCounter {
    double bytes = 0;

    template <class T>
    void read(const MatrixView<T>& m) {
        if (m.data) bytes += static_cast<double>(sizeof(T)) * m.rows * m.cols;
    }
    template <class T>
    void read(const VectorView<T>& v) {
        if (v.data) bytes += static_cast<double>(sizeof(T)) * v.size;
    }
    template <class T>
    void read(const ScalarView<T>&) {}
    void read(const IntegerVectorView& v) { bytes += 8.0 * v.size; }
    template <class View>
    void write(const View& view) {
        read(view);
    }
    void team_memory() {}
};

// A few operations touch less than the arrays that they are given.
template <class Op>
double bytes_of(const Op& op) {
    if constexpr (requires { op.bytes(); }) return op.bytes();
    ByteCounter counter;
    op.visit(counter);
    return counter.bytes;
}

// The name in profiles, where it depends on more than the type.
template <class Op>
const char* name_of(const Op& op) {
    if constexpr (requires { op.name(); })
        return op.name();
    else
        return op.kName;
}

struct ReplayResult {
    int64_t steps = 0;  // steps that were completed
    bool interrupted = false;
    Failure failure;
};

struct OperationProfile {
    const char* name;
    double seconds, flops, bytes;  // of one call
};

}  // namespace steepest::ops
