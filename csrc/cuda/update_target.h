#pragma once

#include "common/views.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The parameters that an update changes if their gradient is the result of a matrix product: weights, and perhaps
// biases. The gradient of the biases is the column sums that the product computes on the way.
template <class T>
struct UpdateTarget {
    MatrixView<T> param, state[2];
    VectorView<T> bias, bias_state[2];
    bool penalised = true, bias_penalised = true;
    bool vectors = false;  // whether all runs of c's width can be loaded with one instruction
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
