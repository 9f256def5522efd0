// What becomes of an item of a matrix product before it is stored.
#pragma once

#include "common/activations.h"
#include "common/views.h"
#include "cuda/device/lane.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// f(c + bias), c * g'(output) and c + scale * addend: what is absent is left out. The choices are the same for all
// threads of a launch, so that one kernel serves all.
template <class T>
struct Epilogue {
    VectorView<const T> bias;
    Activation activation = Activation::kIdentity;
    MatrixView<const T> output;  // g's output, where its derivative is taken
    Activation activation_of_output = Activation::kIdentity;
    MatrixView<const T> addend;
    T scale = T(0);

    __device__ T operator()(T c, int64_t i, int64_t j) const {
        if (bias) c += bias[j];
        if (activation != Activation::kIdentity)
            with_activation(activation, [&](auto f) { c = decltype(f)::value(Lane<T>(c)).value; });
        if (output)
            with_activation(activation_of_output,
                            [&](auto g) { c *= decltype(g)::derivative(Lane<T>(output(i, j))).value; });
        if (addend) c = std::fma(scale, addend(i, j), c);
        return c;
    }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
