// Activation functions: one formula each, for CPU vectors and CUDA scalars alike, and the registry that names them. `V`
// is a vector of one instruction set or a CUDA thread's Lane; exp, expm1 and the like are found for it by
// argument-dependent lookup. `derivative` is evaluated at the function's own output y = f(x), so that back-propagation
// needs no second array. If y does not determine the derivative, it is evaluated at the input x.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/gelu_tanh.h"
#include "common/macros.h"
#include "common/normal_distribution.h"

// X(formula). To add an activation, add a struct below and its name here. The kernels of both devices, the function of
// steepest.kernels, the layer of steepest.nn, their stubs, their tests and the table of the documentation follow from
// it.
#define STEEPEST_ACTIVATIONS(X) \
    X(Identity)                 \
    X(Relu)                     \
    X(LeakyRelu)                \
    X(Elu)                      \
    X(Sigmoid)                  \
    X(HardSigmoid)              \
    X(Tanh)                     \
    X(Softplus)                 \
    X(Gelu)                     \
    X(GeluTanh)                 \
    X(Silu)                     \
    X(Mish)

namespace steepest {

enum class ActivationKind : int8_t {
#define STEEPEST_ENUMERATOR(Name) k##Name,
    STEEPEST_ACTIVATIONS(STEEPEST_ENUMERATOR)
#undef STEEPEST_ENUMERATOR
};

struct Activation {
    ActivationKind kind = ActivationKind::kIdentity;
    double parameter = 0;  // of the function, if it has one

    STEEPEST_HD bool is_identity() const { return kind == ActivationKind::kIdentity; }
};

enum class DerivativeAt : int8_t { kOutput, kInput };

// The name and the formula of an activation. The documentation and the docstrings use these strings.
struct ActivationInfo {
    const char* name;            // of the function in steepest.kernels
    const char* layer;           // class in steepest.nn
    const char* parameter = "";  // name of the parameter, which is not negative; "" if there is none
    double default_parameter = 0;
    const char* value;
    const char* derivative;  // in terms of y = f(x), or of x if it is evaluated at the input
    const char* range;
    const char* source = "";
    DerivativeAt derivative_at = DerivativeAt::kOutput;
    ActivationKind kind = ActivationKind::kIdentity;  // set by kActivations

    constexpr ActivationInfo of_kind(ActivationKind own) const {
        ActivationInfo info = *this;
        info.kind = own;
        return info;
    }
};

inline namespace STEEPEST_TARGET {

struct Identity {
    static constexpr ActivationInfo kInfo{
        .name = "identity", .layer = "Identity", .value = "x", .derivative = "1", .range = "(-inf, inf)"};
    template <class V>
    STEEPEST_HD V value(V x) const {
        return x;
    }
    template <class V>
    STEEPEST_HD V derivative(V) const {
        return V(1);
    }
};

// max(x, 0); the derivative at 0 is defined as 0. The order of the arguments of max propagates NaN.
struct Relu {
    static constexpr ActivationInfo kInfo{.name = "relu",
                                          .layer = "ReLU",
                                          .value = "max(x, 0)",
                                          .derivative = "1 where y > 0, else 0",
                                          .range = "[0, inf)"};
    template <class V>
    STEEPEST_HD V value(V x) const {
        return max(V(0), x);
    }
    template <class V>
    STEEPEST_HD V derivative(V y) const {
        return select(y > V(0), V(1), V(0));
    }
};

// x where x > 0, else slope x. The slope is not negative, so the sign of y tells which case holds.
struct LeakyRelu {
    static constexpr ActivationInfo kInfo{.name = "leaky_relu",
                                          .layer = "LeakyReLU",
                                          .parameter = "slope",
                                          .default_parameter = 0.01,
                                          .value = "x where x > 0, else slope x",
                                          .derivative = "1 where y > 0, else slope",
                                          .range = "(-inf, inf)",
                                          .source = "A. L. Maas, A. Y. Hannun, A. Y. Ng, ICML 2013"};
    double slope;

    template <class V>
    STEEPEST_HD V value(V x) const {
        return select(x > V(0), x, V(slope) * x);
    }
    template <class V>
    STEEPEST_HD V derivative(V y) const {
        return select(y > V(0), V(1), V(slope));
    }
};

// x where x > 0, else alpha (exp(x) - 1), whose derivative is alpha exp(x) = y + alpha.
struct Elu {
    static constexpr ActivationInfo kInfo{.name = "elu",
                                          .layer = "ELU",
                                          .parameter = "alpha",
                                          .default_parameter = 1,
                                          .value = "x where x > 0, else alpha (exp(x) - 1)",
                                          .derivative = "1 where y > 0, else y + alpha",
                                          .range = "[-alpha, inf)",
                                          .source = "D.-A. Clevert et al., ICLR 2016"};
    double alpha;

    template <class V>
    STEEPEST_HD V value(V x) const {
        return select(x > V(0), x, V(alpha) * expm1(min(V(0), x)));
    }
    template <class V>
    STEEPEST_HD V derivative(V y) const {
        return select(y > V(0), V(1), y + V(alpha));
    }
};

// 1 / (1 + exp(-x)). For x < 0 it is computed as e / (1 + e) with e = exp(x), which is accurate where the result is
// tiny.
struct Sigmoid {
    static constexpr ActivationInfo kInfo{.name = "sigmoid",
                                          .layer = "Sigmoid",
                                          .value = "1 / (1 + exp(-x))",
                                          .derivative = "y (1 - y)",
                                          .range = "[0, 1]"};
    template <class V>
    STEEPEST_HD V value(V x) const {
        const V e = exp_nonpositive(minus_abs(x));
        return select(x > V(0), V(1), e) / (V(1) + e);
    }
    template <class V>
    STEEPEST_HD V derivative(V y) const {
        return y * (V(1) - y);
    }
};

// (x + 3) / 6, clipped to [0, 1]; the derivative at the ends is defined as 0. The argument order of the clamps
// propagates NaN.
struct HardSigmoid {
    static constexpr ActivationInfo kInfo{.name = "hard_sigmoid",
                                          .layer = "HardSigmoid",
                                          .value = "(x + 3) / 6 between 0 and 1",
                                          .derivative = "1/6 where 0 < y < 1, else 0",
                                          .range = "[0, 1]"};
    template <class V>
    STEEPEST_HD V value(V x) const {
        return min(V(1), max(V(0), (x + V(3)) / V(6)));
    }
    template <class V>
    STEEPEST_HD V derivative(V y) const {
        return select(y > V(0), select(V(1) > y, V(1.0 / 6), V(0)), V(0));
    }
};

// tanh(x) = e / (e + 2) with e = exp(2x) - 1, which keeps the relative accuracy near 0. Beyond |x| = 20 the result is
// ±1 in every precision; the clamp there avoids inf / inf. The clamp's argument order propagates NaN.
struct Tanh {
    static constexpr ActivationInfo kInfo{
        .name = "tanh", .layer = "Tanh", .value = "tanh(x)", .derivative = "1 - y^2", .range = "[-1, 1]"};
    template <class V>
    STEEPEST_HD V value(V x) const {
        const V clamped = min(V(20), max(V(-20), x));
        const V e = expm1(clamped + clamped);
        return e / (e + V(2));
    }
    template <class V>
    STEEPEST_HD V derivative(V y) const {
        return V(1) - y * y;
    }
};

// log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), whose derivative is the sigmoid of x, 1 - exp(-y).
struct Softplus {
    static constexpr ActivationInfo kInfo{.name = "softplus",
                                          .layer = "Softplus",
                                          .value = "log(1 + exp(x))",
                                          .derivative = "1 - exp(-y)",
                                          .range = "[0, inf)"};
    template <class V>
    STEEPEST_HD V value(V x) const {
        return max(V(0), x) + log1p_unit(exp_nonpositive(minus_abs(x)));
    }
    template <class V>
    STEEPEST_HD V derivative(V y) const {
        return -expm1(-y);
    }
};

// x Phi(x), Phi being the distribution function of the standard normal distribution (D. Hendrycks, K. Gimpel, "Gaussian
// error linear units", 2016). With the upper tail Q(|x|) = 1 - Phi(|x|), it is max(x, 0) - |x| Q(|x|).
struct Gelu {
    static constexpr ActivationInfo kInfo{.name = "gelu",
                                          .layer = "GELU",
                                          .value = "x Phi(x)",
                                          .derivative = "Phi(x) + x phi(x)",
                                          .range = "[-0.17, inf)",
                                          .source = "D. Hendrycks, K. Gimpel, \"Gaussian error linear units\", 2016",
                                          .derivative_at = DerivativeAt::kInput};
    template <class V>
    STEEPEST_HD V value(V x) const {
        const NormalTail<V> tail(x);
        return max(V(0), x) - tail.times_density(tail.distance * tail.ratio);
    }
    // Phi(x) + x phi(x)
    template <class V>
    STEEPEST_HD V derivative(V x) const {
        const NormalTail<V> tail(x);
        const V below = tail.times_density(tail.ratio - tail.distance * V(kNormalDensityAt0));
        return select(x > V(0), V(1) - below, below);
    }
};

// The parts of functions that are x exp(x) times a fraction where x < 0, and x times another fraction elsewhere. The
// exponential is multiplied last: the product may be a normal number where the exponential itself is subnormal.
template <class V>
struct ExponentialTail {
    static constexpr double kRange = 800;  // for x <= -800, x exp(x) is 0 in double; up to here all sums are finite

    V x, down;  // down is -|x|, but not below -kRange
    decltype(factored_exp(V(0))) factored;

    STEEPEST_HD explicit ExponentialTail(V at)
        : x(at), down(max(V(-kRange), minus_abs(at))), factored(factored_exp(down)) {}
    // The same with exp(exponent + rest) in place of exp(-|x|).
    STEEPEST_HD ExponentialTail(V at, V exponent, V rest)
        : x(at), down(exponent), factored(factored_exp(exponent, rest)) {}

    STEEPEST_HD V e() const { return factored.value(); }    // exp(-|x|)
    STEEPEST_HD V bounded() const { return max(down, x); }  // x, but not below -kRange
    STEEPEST_HD V choose(V below, V above) const { return select(V(0) > x, below, above); }
    STEEPEST_HD V times(V quotient) const { return choose(factored.times(quotient), quotient); }
};

// x (1 + tanh(u)) / 2 = x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x³), an approximation of x Phi(x).
struct GeluTanh {
    static constexpr ActivationInfo kInfo{
        .name = "gelu_tanh",
        .layer = "GELUTanh",
        .value = "x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3)",
        .derivative = "s (1 + 2 x (1 - s) sqrt(2 / pi) (1 + 0.134145 x^2)), s = 1 / (1 + exp(-2 u))",
        .range = "[-0.18, inf)",
        .source = "D. Hendrycks, K. Gimpel, \"Gaussian error linear units\", 2016",
        .derivative_at = DerivativeAt::kInput};

    template <class V>
    STEEPEST_HD V value(V x) const {
        const GeluTanhExponent<V> exponent(x);
        const ExponentialTail<V> tail(x, exponent.down, exponent.rest);
        return tail.times(max(-exponent.distance, x) / (V(1) + tail.e()));
    }
    // With e = exp(-2 |u|) and w = |x| d(2 u) / dx: (1 + e + w e) / (1 + e)² for x >= 0, and e (1 + e - w) / (1 + e)²
    // for x < 0.
    template <class V>
    STEEPEST_HD V derivative(V x) const {
        const GeluTanhExponent<V> exponent(x);
        const ExponentialTail<V> tail(x, exponent.down, exponent.rest);
        const V e = tail.e(), sum = V(1) + e, w = exponent.distance * exponent.slope;
        return tail.times(tail.choose(sum - w, fma(w, e, sum)) / (sum * sum));
    }
};

// x sigmoid(x), which is x / (1 + exp(-|x|)) times exp(x) where x < 0.
struct Silu {
    static constexpr ActivationInfo kInfo{.name = "silu",
                                          .layer = "SiLU",
                                          .value = "x / (1 + exp(-x))",
                                          .derivative = "s (1 + x (1 - s)), s = 1 / (1 + exp(-x))",
                                          .range = "[-0.28, inf)",
                                          .source = "S. Elfwing et al., 2018",
                                          .derivative_at = DerivativeAt::kInput};
    template <class V>
    STEEPEST_HD V value(V x) const {
        const ExponentialTail<V> tail(x);
        return tail.times(tail.bounded() / (V(1) + tail.e()));
    }
    // s (1 + x (1 - s)), s = sigmoid(x)
    template <class V>
    STEEPEST_HD V derivative(V x) const {
        const ExponentialTail<V> tail(x);
        const V e = tail.e(), sum = V(1) + e, square = sum * sum;
        return tail.times(tail.choose(sum + tail.down, sum - tail.down * e) / square);
    }
};

// x tanh(log(1 + exp(x))). With e = exp(-|x|) the hyperbolic tangent is e (e + 2) / (e² + 2 e + 2) where x < 0, and
// (1 + 2 e) / (1 + 2 e + 2 e²) elsewhere. The factor e of the first form is multiplied last.
struct Mish {
    static constexpr ActivationInfo kInfo{
        .name = "mish",
        .layer = "Mish",
        .value = "x tanh(log(1 + exp(x)))",
        .derivative = "t + x s (1 - t^2), t = tanh(log(1 + exp(x))), s = 1 / (1 + exp(-x))",
        .range = "[-0.31, inf)",
        .source = "D. Misra, BMVC 2020",
        .derivative_at = DerivativeAt::kInput};

    template <class V>
    STEEPEST_HD V value(V x) const {
        const ExponentialTail<V> tail(x);
        const V e = tail.e();
        return tail.times(tail.bounded() * (numerator(tail, e) / denominator(tail, e)));
    }
    // With the fraction n / d of the hyperbolic tangent, without the factor e: (n d + 4 x e² (1 + e)) / d² for x >= 0,
    // and e (n d + 4 x (1 + e)) / d² for x < 0.
    template <class V>
    STEEPEST_HD V derivative(V x) const {
        const ExponentialTail<V> tail(x);
        const V e = tail.e(), d = denominator(tail, e);
        const V slope = V(4) * tail.down * (V(1) + e) * tail.choose(V(1), -e * e);
        return tail.times(fma(numerator(tail, e), d, slope) / (d * d));
    }

  private:
    template <class V>
    static STEEPEST_HD V numerator(const ExponentialTail<V>& tail, V e) {
        return tail.choose(e + V(2), fma(e, V(2), V(1)));
    }
    template <class V>
    static STEEPEST_HD V denominator(const ExponentialTail<V>& tail, V e) {
        return tail.choose(fma(e, e + V(2), V(2)), fma(e + e, e + V(1), V(1)));
    }
};

template <class Formula>
STEEPEST_HD Formula make_formula(double parameter) {
    if constexpr (std::is_empty_v<Formula>)
        return Formula{};
    else
        return Formula{parameter};
}

// Calls f(formula) with the formula of an activation, so that loops are compiled once per formula.
template <class F>
STEEPEST_HD auto with_activation(const Activation& activation, F&& f) {
    switch (activation.kind) {
#define STEEPEST_CASE(Name) \
    case ActivationKind::k##Name: return f(make_formula<Name>(activation.parameter));
        STEEPEST_ACTIVATIONS(STEEPEST_CASE)
#undef STEEPEST_CASE
    }
    return f(Identity{});
}

// Like with_activation, for activations whose derivative is evaluated at the output; the caller has checked that.
template <class F>
STEEPEST_HD auto with_output_derivative(const Activation& activation, F&& f) {
    switch (activation.kind) {
#define STEEPEST_CASE(Name)                                               \
    case ActivationKind::k##Name:                                         \
        if constexpr (Name::kInfo.derivative_at == DerivativeAt::kOutput) \
            return f(make_formula<Name>(activation.parameter));           \
        else                                                              \
            break;
        STEEPEST_ACTIVATIONS(STEEPEST_CASE)
#undef STEEPEST_CASE
    }
    return f(Identity{});
}

}  // namespace STEEPEST_TARGET

inline constexpr ActivationInfo kActivations[] = {
#define STEEPEST_INFO(Name) Name::kInfo.of_kind(ActivationKind::k##Name),
    STEEPEST_ACTIVATIONS(STEEPEST_INFO)
#undef STEEPEST_INFO
};

STEEPEST_HD const ActivationInfo& info_of(ActivationKind kind) { return kActivations[static_cast<int>(kind)]; }

}  // namespace steepest
