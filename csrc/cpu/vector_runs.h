// Runs of contiguous items that are written in vectors.
#pragma once

#include "cpu/rows.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int64_t kRunGrain = 1024;  // the least number of items for a member

// A result of more bytes leaves the caches before anybody can use it there; written past them, its lines are not fetched
// first.
constexpr size_t kStreamBytes = 32 << 20;

// Shorter rows are not, since their ends go through the caches.
constexpr size_t kLeastStreamed = 4096;

// Whether a result of rows of n items is better written past the caches. In place, its lines are there anyway.
template <class T>
STEEPEST_HD bool pays_to_stream(int64_t rows, int64_t n, bool in_place) {
    const size_t row_bytes = static_cast<size_t>(n) * sizeof(T);
    return !in_place && rows * row_bytes > kStreamBytes && (rows == 1 || row_bytes >= kLeastStreamed);
}

// out_j = f(j, lanes) for the vectors of a run of n items, two at a time: their chains of operations overlap.
template <class T, class F>
STEEPEST_HD void write_vectors(T* out, int64_t n, bool past_caches, F&& f) {
    constexpr int kSize = Vec<T>::kSize;
    int64_t j = 0;
    if (past_caches) {
        const int64_t misaligned = reinterpret_cast<uintptr_t>(out) / sizeof(T) % kSize;
        const int head = misaligned ? static_cast<int>(kSize - misaligned) : 0;
        if (head > 0 && head <= n) f(0, head).store(out, head), j = head;
        for (; j + 2 * kSize <= n; j += 2 * kSize)
            f(j, kSize).stream(out + j), f(j + kSize, kSize).stream(out + j + kSize);
        finish_streams();
    } else {
        for (; j + 2 * kSize <= n; j += 2 * kSize)
            f(j, kSize).store(out + j), f(j + kSize, kSize).store(out + j + kSize);
    }
    for_each_vector<T>(j, n, [=](int64_t k, int lanes) { store_items(f(k, lanes), out + k, 1, lanes); });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
