// Activation functions: one formula each, for CPU vectors and CUDA scalars alike, and the registry that names them.
// `V` is a scalar or a vector of one instruction set; exp, expm1 and the like are found for it by argument lookup.
// `derivative` is evaluated at the function's own output y = f(x), so that back-propagation needs no second array.
#pragma once

#include <cstdint>

#include "common/macros.h"

// X(enumerator, public name); adding an activation is a struct below and a line here.
#define STEEPEST_ACTIVATIONS(X) \
    X(Identity, "identity")     \
    X(Relu, "relu")             \
    X(Sigmoid, "sigmoid")       \
    X(Tanh, "tanh")

namespace steepest {

enum class Activation : int8_t {
#define STEEPEST_ENUMERATOR(Name, text) k##Name,
    STEEPEST_ACTIVATIONS(STEEPEST_ENUMERATOR)
#undef STEEPEST_ENUMERATOR
};

inline namespace STEEPEST_TARGET {

struct Identity {
    template <class V>
    static STEEPEST_HD V value(V x) {
        return x;
    }
    template <class V>
    static STEEPEST_HD V derivative(V) {
        return V(1);
    }
};

// max(x, 0); the derivative at 0 is taken as 0. The order of the arguments of max keeps a NaN.
struct Relu {
    template <class V>
    static STEEPEST_HD V value(V x) {
        return max(V(0), x);
    }
    template <class V>
    static STEEPEST_HD V derivative(V y) {
        return select(y > V(0), V(1), V(0));
    }
};

// 1 / (1 + exp(-x))
struct Sigmoid {
    template <class V>
    static STEEPEST_HD V value(V x) {
        return V(1) / (V(1) + exp(-x));
    }
    template <class V>
    static STEEPEST_HD V derivative(V y) {
        return y * (V(1) - y);
    }
};

// tanh(x) = e / (e + 2) with e = exp(2x) - 1, which keeps the relative accuracy near 0. Beyond |x| = 20 the
// result is ±1 in every precision, so clamping keeps inf/inf away. The clamp's argument order keeps a NaN.
struct Tanh {
    template <class V>
    static STEEPEST_HD V value(V x) {
        const V clamped = min(V(20), max(V(-20), x));
        const V e = expm1(clamped + clamped);
        return e / (e + V(2));
    }
    template <class V>
    static STEEPEST_HD V derivative(V y) {
        return V(1) - y * y;
    }
};

// Calls f(Formula{}) with the formula of `kind`, so that loops are compiled once per formula.
template <class F>
STEEPEST_HD void with_activation(Activation kind, F&& f) {
    switch (kind) {
#define STEEPEST_CASE(Name, text) \
    case Activation::k##Name: return f(Name{});
        STEEPEST_ACTIVATIONS(STEEPEST_CASE)
#undef STEEPEST_CASE
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
