// The part that softmax and its loss share: a row's maximum m, and the exponentials exp(x_j - m) with their sum.
// Subtracting the maximum keeps every exponential in [0, 1].
#pragma once

#include <cmath>

#include "cuda/device/rows.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The number of threads that share a row, and the number of vectors that each keeps. A long row does not fit into
// registers, and is read twice.
template <int Lanes, int Vectors, bool Long = false>
struct RowShape {
    static constexpr int kLanes = Lanes;
    static constexpr int kVectors = Vectors;
    static constexpr bool kLong = Long;
    static constexpr int kThreads = Lanes < 256 ? 256 : Lanes;
    static constexpr int kRows = kThreads / Lanes;

    static bool holds(int64_t bytes) { return bytes <= Lanes * Vectors * 16; }
};

// Calls f with the shape for rows of `cols` items, of which a thread keeps at most `Most` vectors.
template <class T, int Most, class F>
void with_row_shape(int64_t cols, F&& f) {
    constexpr int kBlock = 4096 / sizeof(T);  // arithmetic in double takes twice the registers
    const int64_t bytes = cols * static_cast<int64_t>(sizeof(T));
    if (RowShape<4, 1>::holds(bytes)) return f(RowShape<4, 1>());
    if (RowShape<8, 2>::holds(bytes)) return f(RowShape<8, 2>());
    if (RowShape<32, 2>::holds(bytes)) return f(RowShape<32, 2>());
    if (RowShape<32, Most>::holds(bytes)) return f(RowShape<32, Most>());
    if (RowShape<256, Most>::holds(bytes)) return f(RowShape<256, Most>());
    if (RowShape<kBlock, Most>::holds(bytes)) return f(RowShape<kBlock, Most>());
    f(RowShape<kBlock, (Most > 4 ? Most / 4 : 1), true>());
}

// The number of blocks that fit into the registers of a multiprocessor at once; threads that keep little of a row need
// few registers.
template <class T, class Shape, int Few>
constexpr int kBlocksAtOnce = (sizeof(T) == 8                          ? 512
                               : Shape::kVectors <= 2 && !Shape::kLong ? Few
                                                                       : 1024) /
                              Shape::kThreads;

template <class T>
constexpr T kLowest = -static_cast<T>(__builtin_inf());

// The maximum m, for all threads of the row.
template <int Lanes, class T, int Vectors>
__device__ __forceinline__ T maximum_of_row(RowChunk<T, Lanes, Vectors>& x, GroupArray<T, Lanes>& memory) {
    T maximum = kLowest<T>;
    x.for_each([&](int q) { maximum = Larger()(maximum, x.item[q]); });
    return combine_group<Lanes>(maximum, memory, Larger());
}

// Raises `found` to the value at the position of the row's largest key, if this thread holds it.
template <int Lanes, class T, int Vectors>
__device__ __forceinline__ void look_at(T& found, T largest, RowChunk<T, Lanes, Vectors>& key,
                                        const RowChunk<T, Lanes, Vectors>& value) {
    key.for_each([&](int q) {
        if (key.item[q] == largest) found = Larger()(found, value.item[q]);
    });
}

// The maximum m and the sum of exp(x_j - m) in a single pass, for all threads of the row. Each thread subtracts the
// maximum of the items so far, and corrects its sum when the maximum grows. The sum of thousands of items is kept in
// float64.
template <int Lanes, class T>
__device__ void long_row_statistics(const VectorView<const T>& row, bool in_vectors, GroupArray<T, Lanes>& memory,
                                    T& maximum, T& sum) {
    T mine = kLowest<T>;
    double my_sum = 0;
    RowChunk<T, Lanes, kVectorWidth<T>> x(in_vectors);
    for (int64_t start = 0; start < row.size; start += x.kSpan) {
        x.load(row, start, kLowest<T>);
        T larger = mine;
        x.for_each([&](int q) { larger = Larger()(larger, x.item[q]); });
        const T shift = larger == kLowest<T> ? T(0) : larger;  // -inf - -inf is NaN
        T of_chunk = 0;
        x.for_each([&](int q) { of_chunk += std::exp(x.item[q] - shift); });
        my_sum = my_sum * static_cast<double>(std::exp(mine - shift)) + static_cast<double>(of_chunk);
        mine = larger;
    }
    maximum = combine_group<Lanes>(mine, memory, Larger());
    sum = combine_group<Lanes>(static_cast<T>(my_sum) * std::exp(mine - maximum), memory, Plus());
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
