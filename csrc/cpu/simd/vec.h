// Vec<T>: the one vector interface of the CPU kernels. Each kernel source is compiled once per instruction set, and
// includes the one that STEEPEST_SIMD names:
//     Vec<T>::kSize, load(p), load(p, n), load(p, n, rest), store(p), store(p, n), stream(p)
//     + - * /, fma, min, max, abs, minus_abs, sqrt, select, >, ==, any_greater, quotient, rounding_of_product,
//     scale_by_power_of_two, split_exponent, transpose, any_nan, exceeds, load_bytes, store_bytes, Picker
//     NarrowVec<T>: the same of half the width where that is faster, or Vec<T>
//     reduce_add, reduce_max, reduce_add_wide, widen_low, widen_high, first_lane, and the register tile of the matrix
//     product
// stream(p) writes past the caches to an address p that is aligned to a vector; call finish_streams() after the last. A
// partial load or store touches the first n lanes only, 0 <= n <= kSize; the other lanes are zero or `rest`.
// load_bytes<T>(p, n) and store_bytes(v, p, n) convert lanes from and to integers of a byte. A Picker<T> of kSize numbers
// makes a vector of the lanes with these numbers out of two, whose lanes are numbered on from one to the other.
#pragma once

#include "common/macros.h"

#if defined(STEEPEST_SIMD_AVX512)
#include "cpu/simd/avx512.h"
#elif defined(STEEPEST_SIMD_AVX2)
#include "cpu/simd/avx2.h"
#else
#include "cpu/simd/generic.h"
#endif
