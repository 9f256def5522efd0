// Launches the matrix product of gemm.cuh.
#pragma once

#include "common/activations.h"
#include "common/precision.h"
#include "common/views.h"
#include "cuda/stream.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// c = f(a @ b + bias), or (a @ b + bias) * f'(output), or a @ b + scale * addend, and the sums of b's columns. Absent
// terms are left out. With `accumulate`, the old c is added to a @ b, and the sums are added to b_sums.
template <class T>
struct GemmCall {
    MatrixView<const T> a;  // (m, k)
    MatrixView<const T> b;  // (k, n)
    MatrixView<T> c;        // (m, n)
    Precision precision = Precision::kFloat32;
    VectorView<const T> bias;    // (n,)
    MatrixView<const T> output;  // (m, n)
    Activation activation;
    MatrixView<const T> addend;  // (m, n)
    T scale = T(0);
    VectorView<T> b_sums;  // (n,)
    bool accumulate = false;
};

template <class T>
void gemm(const GemmCall<T>& call, Stream& stream);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
