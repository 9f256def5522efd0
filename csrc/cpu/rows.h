// Access to matrices of any strides in vectors, and sums of losses that do not depend on the team's size.
#pragma once

#include "common/row_weights.h"
#include "cpu/simd/vec.h"
#include "cpu/team.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
STEEPEST_HD Vec<T> load_items(const T* p, int64_t stride, int lanes, Vec<T> rest = Vec<T>(0)) {
    if (stride == 1) return lanes == Vec<T>::kSize ? Vec<T>::load(p) : Vec<T>::load(p, lanes, rest);
    alignas(64) T lane[Vec<T>::kSize];
    for (int l = 0; l < lanes; ++l) lane[l] = p[l * stride];
    return Vec<T>::load(lane, lanes, rest);
}

template <class T>
STEEPEST_HD void store_items(Vec<T> v, T* p, int64_t stride, int lanes) {
    if (stride == 1) {
        if (lanes == Vec<T>::kSize)
            v.store(p);
        else
            v.store(p, lanes);
        return;
    }
    alignas(64) T lane[Vec<T>::kSize];
    v.store(lane);
    for (int l = 0; l < lanes; ++l) p[l * stride] = lane[l];
}

// to[l] += weight * v[l] for all lanes l
template <class T>
STEEPEST_HD void add_wide(Vec<T> v, double* to, double weight = 1) {
    using W = Vec<double>;
    if constexpr (sizeof(T) == sizeof(double)) {
        (W::load(to) + W(weight) * v).store(to);
    } else {
        (W::load(to) + W(weight) * widen_low(v)).store(to);
        (W::load(to + W::kSize) + W(weight) * widen_high(v)).store(to + W::kSize);
    }
}

// Whether the rows of a matrix follow one another in memory. It is then one long row, which is divided in vectors and
// not in rows.
template <class T>
STEEPEST_HD bool is_flat(const MatrixView<T>& m) {
    return m.col_stride == 1 && (m.rows <= 1 || m.row_stride == m.cols);
}

// A row as contiguous items: in place or, if its columns are strided, a copy in `buffer`. Loops over items then need no
// strides.
template <class T>
STEEPEST_HD const T* contiguous_row(const MatrixView<const T>& m, int64_t i, T* buffer) {
    if (m.col_stride == 1) return m.row(i);
    for (int64_t j = 0; j < m.cols; ++j) buffer[j] = m(i, j);
    return buffer;
}

// Like contiguous_row, for a row that is written: call put_row after the last store.
template <class T>
STEEPEST_HD T* writable_row(const MatrixView<T>& m, int64_t i, T* buffer) {
    return m.col_stride == 1 ? m.row(i) : buffer;
}
template <class T>
STEEPEST_HD void put_row(const MatrixView<T>& m, int64_t i, const T* items) {
    if (m.col_stride == 1) return;
    for (int64_t j = 0; j < m.cols; ++j) m(i, j) = items[j];
}

// Contiguous items of a vector: in place, or in `buffer`, which an absent vector fills with `rest`.
template <class T>
const T* contiguous_items(const VectorView<const T>& v, int64_t n, T rest, T* buffer) {
    if (v && v.stride == 1) return v.data;
    for (int64_t j = 0; j < n; ++j) buffer[j] = v ? v[j] : rest;
    return buffer;
}

// Calls f(j, lanes) for the vectors of a row of n items.
template <class T, class F>
STEEPEST_HD void for_each_vector(int64_t begin, int64_t end, F&& f) {
    constexpr int kSize = Vec<T>::kSize;
    int64_t j = begin;
    for (; j + kSize <= end; j += kSize) f(j, kSize);
    if (j < end) f(j, static_cast<int>(end - j));
}

// The sum of a_j b_j, in two vectors of sums.
template <class T>
STEEPEST_HD T dot(const T* a, const T* b, int64_t n) {
    using V = Vec<T>;
    V even(0), odd(0);
    int64_t j = 0;
    for (; j + 2 * V::kSize <= n; j += 2 * V::kSize) {
        even = fma(V::load(a + j), V::load(b + j), even);
        odd = fma(V::load(a + j + V::kSize), V::load(b + j + V::kSize), odd);
    }
    for (; j < n; j += V::kSize) {
        const int lanes = static_cast<int>(n - j < V::kSize ? n - j : V::kSize);
        even = fma(V::load(a + j, lanes), V::load(b + j, lanes), even);
    }
    return reduce_add(even + odd);
}

// The value at the position of the largest key; if several keys are the largest, the largest of their values.
template <class T>
STEEPEST_HD T value_at(T largest, const T* key, const T* value, int64_t n) {
    using V = Vec<T>;
    const V lowest(-__builtin_inf()), wanted(largest);
    V found = lowest;
    for_each_vector<T>(0, n, [&](int64_t j, int lanes) {
        const V beside = load_items(value + j, 1, lanes, lowest);
        found = max(found, select(load_items(key + j, 1, lanes) == wanted, beside, lowest));
    });
    return reduce_max(found);
}

// The sum of a_j (b_j - shift_by), in two vectors of sums.
template <class T>
STEEPEST_HD T shifted_dot(const T* a, const T* b, T shift_by, int64_t n) {
    using V = Vec<T>;
    const V shift(shift_by);
    V even(0), odd(0);
    int64_t j = 0;
    for (; j + 2 * V::kSize <= n; j += 2 * V::kSize) {
        even = fma(V::load(a + j), V::load(b + j) - shift, even);
        odd = fma(V::load(a + j + V::kSize), V::load(b + j + V::kSize) - shift, odd);
    }
    for (; j < n; j += V::kSize) {
        const int lanes = static_cast<int>(n - j < V::kSize ? n - j : V::kSize);
        even = fma(V::load(a + j, lanes), V::load(b + j, lanes) - shift, even);
    }
    return reduce_add(even + odd);
}

// The column of the first largest item of row i; the first NaN, if there is one.
template <class T>
STEEPEST_HD int64_t first_largest(const MatrixView<const T>& x, int64_t i) {
    int64_t best = 0;
    T largest = x(i, 0);
    for (int64_t j = 1; j < x.cols && largest == largest; ++j) {
        const T item = x(i, j);
        if (item > largest || item != item) largest = item, best = j;
    }
    return best;
}

// Whether all labels are ignored or lie in 0 .. classes - 1. If not, the team fails with the first that does not.
template <class T>
bool check_labels(const RowWeights<T>& rows, int64_t classes, OperationNumber operation, Team& team);

// The chunks, out of 0 .. kChunks, of this thread.
STEEPEST_HD Range my_chunks(const Team& team) { return team.split(kChunks, 1); }

constexpr int64_t kRowsAtOnce = 16;  // rows that a loss takes together

// Calls row_sum(range of rows) -> double for fixed chunks of n rows, which the threads divide. One thread stores scale
// * (the sum of all chunks), or adds it.
template <class F>
STEEPEST_HD void sum_over_rows(int64_t n, double scale, double* out, Team& team, F&& row_sum, bool adds = false) {
    const int64_t groups = (n + kRowsAtOnce - 1) / kRowsAtOnce;
    const int64_t chunks = groups < kChunks ? groups : kChunks;
    const Range mine = team.split(chunks, 1);
    for (int64_t c = mine.begin; c < mine.end; ++c) {
        const int64_t begin = groups * c / chunks * kRowsAtOnce, end = groups * (c + 1) / chunks * kRowsAtOnce;
        team.chunks()[c] = row_sum(Range{begin, end < n ? end : n});
    }
    team.barrier();  // all chunks are written
    if (team.rank() != 0) return;
    double total = 0;
    for (int64_t c = 0; c < chunks; ++c) total += team.chunks()[c];
    *out = (adds ? *out : 0) + scale * total;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
