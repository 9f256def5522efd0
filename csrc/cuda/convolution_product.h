// Launches the products of windows over images, which the convolutions are.
#pragma once

#include "common/taps.h"
#include "cuda/device/epilogue.cuh"
#include "cuda/device/lines.cuh"
#include "cuda/stream.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The dimensions of a product c(m, n) = sum over k of a(m, k) b(k, n). Along n, all arrays have constant strides.
struct ProductLines {
    Line<Spot> a_rows, a_inner;  // an item of a lies at the sum of two spots; outside of the image it is zero
    Line<int64_t> b_inner;
    Line<int64_t> c_rows, beside_rows;  // of the result, and of the array that its epilogue reads
};

// An axis of a transposed convolution. A stride of s divides the outputs of an axis into s phases, s outputs apart.
// Within a phase, neighbouring outputs read neighbouring sources by the same taps: every tap_step-th.
struct PhaseAxis {
    TapAxis window;
    int64_t outputs = 0, tap_step = 1;
    int64_t weight_stride = 0, c_stride = 0, beside_stride = 0;

    STEEPEST_HD int64_t phases() const { return window.stride < outputs ? window.stride : outputs; }
};

// A product for each group of channels, and for each phase.
template <class T>
struct ConvolutionProduct {
    const T* a = nullptr;
    int64_t height = 1, width = 1;  // of a's image
    const T* b = nullptr;
    int64_t b_stride = 1;
    int64_t a_group = 0, b_group = 0;  // items from one group to the next
    T* c = nullptr;
    int64_t c_stride = 1;
    int64_t columns = 0, groups = 1;  // columns of c in a group; those of all groups follow one another
    // The epilogue's matrices have rows of a single item: their row numbers are those of items.
    Epilogue<T> epilogue;
    VectorView<T> b_sums;  // sums of b over k for each column, or absent
    ProductLines lines;    // with phases: extents of the largest one, and steps
    bool has_phases = false;
    PhaseAxis down, across;
};

template <class T>
void convolution_product(const ConvolutionProduct<T>& product, Stream& stream);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
