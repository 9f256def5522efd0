// Formulas of two items, for CPU vectors and CUDA scalars alike.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace steepest {

enum class BinaryFormula : int8_t { kSum, kProduct, kAddedProduct };

// value(a, b, out): `out` is what the result's place holds, where a formula reads it.
struct Sum {
    static constexpr bool kReadsOut = false;
    template <class V>
    STEEPEST_HD V value(V a, V b, V) const {
        return a + b;
    }
};

struct Product {
    static constexpr bool kReadsOut = false;
    template <class V>
    STEEPEST_HD V value(V a, V b, V) const {
        return a * b;
    }
};

struct AddedProduct {
    static constexpr bool kReadsOut = true;
    template <class V>
    STEEPEST_HD V value(V a, V b, V out) const {
        return fma(a, b, out);
    }
};

// Calls f with the formula, a type of its own, so that each gets loops of its own.
template <class F>
STEEPEST_HD void with_formula(BinaryFormula formula, F&& f) {
    switch (formula) {
        case BinaryFormula::kSum: return f(Sum());
        case BinaryFormula::kProduct: return f(Product());
        case BinaryFormula::kAddedProduct: return f(AddedProduct());
    }
}

}  // namespace steepest
