#pragma once

#include "common/views.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// What an update changes whose gradient is the result of a matrix product: weights, and perhaps biases, whose gradient
// are the sums that the product makes on the way.
template <class T>
struct UpdateTarget {
    MatrixView<T> param, state[2];
    VectorView<T> bias, bias_state[2];
    bool penalised = true, bias_penalised = true;
    bool vectors = false;  // whether all runs of c's width can be loaded at once
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
