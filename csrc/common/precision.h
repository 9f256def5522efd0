// The lowest precision that a caller accepts for products of float32 arrays. A backend may compute more precisely.
// Products of float64 arrays are always computed in float64.
#pragma once

#include <cstdint>

// X(enumerator, public name)
#define STEEPEST_PRECISIONS(X)                                                                        \
    X(Float32, "float32")   /* float32 products and sums */                                           \
    X(High, "high")         /* operands of 16 significant bits or more, by three products of parts */ \
    X(Tf32, "tf32")         /* operands rounded to 11 significant bits, sums in float32 */            \
    X(Bfloat16, "bfloat16") /* operands rounded to 8 significant bits, sums in float32 */

namespace steepest {

enum class Precision : int8_t {
#define STEEPEST_ENUMERATOR(Name, text) k##Name,
    STEEPEST_PRECISIONS(STEEPEST_ENUMERATOR)
#undef STEEPEST_ENUMERATOR
};

struct PrecisionEntry {
    Precision kind;
    const char* name;
};

constexpr PrecisionEntry kPrecisions[] = {
#define STEEPEST_ENTRY(Name, text) {Precision::k##Name, text},
    STEEPEST_PRECISIONS(STEEPEST_ENTRY)
#undef STEEPEST_ENTRY
};

}  // namespace steepest
