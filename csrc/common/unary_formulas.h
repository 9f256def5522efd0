// Functions of one item: one formula each, for CPU vectors and CUDA scalars alike, and the registry that names them.
// exp, log and erf are found for a vector of one instruction set, or a CUDA thread's Lane, by argument-dependent lookup.
#pragma once

#include <cstdint>

#include "common/macros.h"

// X(formula). To add a function, add a struct below and its name here. The kernels of both devices, the function of
// steepest.kernels, its stub, its tests and the tables of the documentation follow from it.
#define STEEPEST_UNARY_FORMULAS(X) \
    X(Exp)                         \
    X(Log)                         \
    X(Erf)                         \
    X(Sqrt)                        \
    X(Square)                      \
    X(Reciprocal)

namespace steepest {

enum class UnaryFormula : int8_t {
#define STEEPEST_ENUMERATOR(Name) k##Name,
    STEEPEST_UNARY_FORMULAS(STEEPEST_ENUMERATOR)
#undef STEEPEST_ENUMERATOR
};

// The name of a function in steepest.kernels and what it is. The documentation and the docstrings use these strings.
struct UnaryInfo {
    const char* name;
    const char* value;
    const char* special;        // its values at the ends of its domain, and beyond
    double flops = 1;           // for each item
    UnaryFormula formula = {};  // set by kUnaryFormulas

    constexpr UnaryInfo of_formula(UnaryFormula own) const {
        UnaryInfo info = *this;
        info.formula = own;
        return info;
    }
};

inline namespace STEEPEST_TARGET {

struct Exp {
    static constexpr UnaryInfo kInfo{.name = "exp",
                                     .value = "e^x",
                                     .special = "0 at -inf, and inf where e^x is beyond the largest number",
                                     .flops = 10};
    template <class V>
    STEEPEST_HD V value(V x) const {
        return exp(x);
    }
};

struct Log {
    static constexpr UnaryInfo kInfo{.name = "log",
                                     .value = "log(x), the natural logarithm",
                                     .special = "-inf at 0 and at -0, NaN below, and inf at inf",
                                     .flops = 10};
    template <class V>
    STEEPEST_HD V value(V x) const {
        return log(x);
    }
};

struct Erf {
    static constexpr UnaryInfo kInfo{.name = "erf",
                                     .value = "2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x",
                                     .special = "-1 at -inf, 1 at inf, and -0 at -0",
                                     .flops = 20};
    template <class V>
    STEEPEST_HD V value(V x) const {
        return erf(x);
    }
};

struct Sqrt {
    static constexpr UnaryInfo kInfo{
        .name = "sqrt", .value = "the square root of x", .special = "NaN below 0, -0 at -0, and inf at inf"};
    template <class V>
    STEEPEST_HD V value(V x) const {
        return sqrt(x);
    }
};

struct Square {
    static constexpr UnaryInfo kInfo{.name = "square", .value = "x * x", .special = "inf at both infinities"};
    template <class V>
    STEEPEST_HD V value(V x) const {
        return x * x;
    }
};

struct Reciprocal {
    static constexpr UnaryInfo kInfo{.name = "reciprocal",
                                     .value = "1 / x",
                                     .special = "inf at 0, -inf at -0, and zeros of their signs at the infinities"};
    template <class V>
    STEEPEST_HD V value(V x) const {
        return V(1) / x;
    }
};

// Calls f with the formula, a type of its own, so that each gets loops of its own.
template <class F>
STEEPEST_HD void with_formula(UnaryFormula formula, F&& f) {
    switch (formula) {
#define STEEPEST_CASE(Name) \
    case UnaryFormula::k##Name: return f(Name());
        STEEPEST_UNARY_FORMULAS(STEEPEST_CASE)
#undef STEEPEST_CASE
    }
}

}  // namespace STEEPEST_TARGET

inline constexpr UnaryInfo kUnaryFormulas[] = {
#define STEEPEST_INFO(Name) Name::kInfo.of_formula(UnaryFormula::k##Name),
    STEEPEST_UNARY_FORMULAS(STEEPEST_INFO)
#undef STEEPEST_INFO
};

STEEPEST_HD const UnaryInfo& info_of(UnaryFormula formula) { return kUnaryFormulas[static_cast<int>(formula)]; }

}  // namespace steepest
