// The epilogue of a matrix product: a function of each item before it is stored.
#pragma once

#include "common/activations.h"
#include "common/views.h"
#include "cuda/device/lane.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// f(c + bias), or (c + bias) * f'(output), or c + scale * addend; absent terms are left out.
template <class T>
struct Epilogue {
    VectorView<const T> bias;
    MatrixView<const T> output;  // the output of f, if the derivative is needed
    Activation activation;
    MatrixView<const T> addend;
    T scale = T(0);
    bool accumulate = false;  // whether the product is added to the old result
};

// Calls store_all(finish), where finish(c, i, j) is the final value for the product's item (i, j). The formula is
// chosen here, once for all items of a thread. A choice for each item would put the code of all formulas between two
// items.
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
