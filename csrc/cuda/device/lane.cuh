// A vector of one lane, with which a CUDA thread evaluates the formulas of common/.
#pragma once

#include <cmath>

#include "cuda/device/platform.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
struct Lane {
    T value;

    Lane() = default;
    template <class U>
    STEEPEST_HD explicit Lane(U x) : value(static_cast<T>(x)) {}
};

#define STEEPEST_LANE(signature, expression) \
    template <class T>                       \
    STEEPEST_HD Lane<T> signature {          \
        return Lane<T>(expression);          \
    }
STEEPEST_LANE(operator+(Lane<T> a, Lane<T> b), a.value + b.value)
STEEPEST_LANE(operator-(Lane<T> a, Lane<T> b), a.value - b.value)
STEEPEST_LANE(operator*(Lane<T> a, Lane<T> b), a.value* b.value)
STEEPEST_LANE(operator/(Lane<T> a, Lane<T> b), a.value / b.value)
STEEPEST_LANE(operator-(Lane<T> a), -a.value)
STEEPEST_LANE(fma(Lane<T> a, Lane<T> b, Lane<T> c), std::fma(a.value, b.value, c.value))
// max and min return the second argument where either is NaN.
STEEPEST_LANE(max(Lane<T> a, Lane<T> b), a.value > b.value ? a.value : b.value)
STEEPEST_LANE(min(Lane<T> a, Lane<T> b), a.value < b.value ? a.value : b.value)
STEEPEST_LANE(sqrt(Lane<T> a), std::sqrt(a.value))
STEEPEST_LANE(quotient(Lane<T> a, Lane<T> b), a.value / b.value)
STEEPEST_LANE(abs(Lane<T> a), std::fabs(a.value))
STEEPEST_LANE(minus_abs(Lane<T> a), -std::fabs(a.value))
STEEPEST_LANE(exp(Lane<T> a), std::exp(a.value))
STEEPEST_LANE(exp_nonpositive(Lane<T> a), std::exp(a.value))
STEEPEST_LANE(log(Lane<T> a), std::log(a.value))
STEEPEST_LANE(log1p_unit(Lane<T> a), std::log1p(a.value))
// The rounding error a b - product, for `product` = a b rounded.
STEEPEST_LANE(rounding_of_product(Lane<T> a, Lane<T> b, Lane<T> product), std::fma(a.value, b.value, -product.value))
STEEPEST_LANE(expm1(Lane<T> a), std::expm1(a.value))
STEEPEST_LANE(erf(Lane<T> a), std::erf(a.value))
STEEPEST_LANE(select(bool condition, Lane<T> a, Lane<T> b), condition ? a.value : b.value)
#undef STEEPEST_LANE

// An exponential as the square of its root. Its product with another number is rounded once, even below the normal
// range.
template <class T>
struct FactoredExp {
    T root, rest;  // exp(x / 2), and the rest of the exponent

    STEEPEST_HD Lane<T> value() const { return times(Lane<T>(T(1))); }
    STEEPEST_HD Lane<T> times(Lane<T> a) const { return Lane<T>(std::fma(a.value, rest, a.value) * root * root); }
};

template <class T>
STEEPEST_HD FactoredExp<T> factored_exp(Lane<T> x) {
    return {std::exp(T(0.5) * x.value), T(0)};
}

// exp(x + rest) for a rest far below 1.
template <class T>
STEEPEST_HD FactoredExp<T> factored_exp(Lane<T> x, Lane<T> rest) {
    return {std::exp(T(0.5) * x.value), rest.value};
}

template <class T>
STEEPEST_HD bool operator>(Lane<T> a, Lane<T> b) {
    return a.value > b.value;
}
template <class T>
STEEPEST_HD bool any_greater(Lane<T> a, Lane<T> b) {
    return a > b;
}
template <class T>
STEEPEST_HD bool operator==(Lane<T> a, Lane<T> b) {
    return a.value == b.value;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
