// A finished tile of a product, as what follows the product sees it.
#pragma once

#include <cstdint>

#include "common/macros.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// c(i0 + i, j0 + j) is at data[i * stride + j].
template <class T>
struct Tile {
    T* data;
    int64_t stride;
    int64_t i0, rows, j0, cols;
};

struct NoEpilogue {
    template <class T>
    STEEPEST_HD void operator()(const Tile<T>&) const {}
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
