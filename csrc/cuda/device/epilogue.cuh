// What becomes of an item of a matrix product before it is stored.
#pragma once

#include "common/activations.h"
#include "common/views.h"
#include "cuda/device/lane.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// f(c + bias), or (c + bias) * f'(output), or c + scale * addend; what is absent is left out.
template <class T>
struct Epilogue {
    VectorView<const T> bias;
    MatrixView<const T> output;  // f's, where its derivative is taken
    Activation activation;
    MatrixView<const T> addend;
    T scale = T(0);
    bool accumulate = false;  // c is the product plus what stands in the result's place
};

// Calls store_all(finish) with what finish(c, i, j) makes of the product's item (i, j). The choice is made here, once for
// all items of a thread: made for each of them, the code of all formulas would lie between one item and the next.
template <class T, class StoreAll>
__device__ void with_linear_epilogue(const Epilogue<T>& e, StoreAll&& store_all) {
    if (e.addend)
        store_all([&](T c, int64_t i, int64_t j) { return std::fma(e.scale, e.addend(i, j), c); });
    else
        store_all([](T c, int64_t, int64_t) { return c; });
}

template <class T, class StoreAll>
__device__ void with_epilogue(const Epilogue<T>& e, StoreAll&& store_all) {
    if (e.output)
        return with_output_derivative(e.activation, [&](auto f) {
            store_all([&](T c, int64_t i, int64_t j) {
                return (e.bias ? c + e.bias[j] : c) * f.derivative(Lane<T>(e.output(i, j))).value;
            });
        });
    if (!e.bias && e.activation.is_identity()) return with_linear_epilogue(e, store_all);
    with_activation(e.activation, [&](auto f) {
        store_all([&](T c, int64_t, int64_t j) { return f.value(Lane<T>(e.bias ? c + e.bias[j] : c)).value; });
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
