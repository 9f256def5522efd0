// Elementwise kernels over matrices, with several vectors for each thread.
#pragma once

#include "cuda/device/vectors.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int kMapThreads = 256;
constexpr int kMapVectors = 4;  // vectors that a thread loads before it stores the first

// Vector e of a contiguous matrix, or item e of any matrix if W is 1.
template <int W, class T>
__device__ __forceinline__ Vector<std::remove_const_t<T>, W> load_items(const MatrixView<T>& m, int64_t e) {
    using V = Vector<std::remove_const_t<T>, W>;
    if constexpr (W > 1) {
        return *reinterpret_cast<const V*>(m.data + e * W);
    } else {
        V v;
        v[0] = m(e / m.cols, e % m.cols);
        return v;
    }
}

template <int W, class T>
__device__ __forceinline__ void store_items(const MatrixView<T>& m, int64_t e, const Vector<T, W>& v) {
    if constexpr (W > 1)
        *reinterpret_cast<Vector<T, W>*>(m.data + e * W) = v;
    else
        m(e / m.cols, e % m.cols) = v[0];
}

// The number of this thread's u-th vector; neighbouring threads take neighbouring vectors.
__device__ __forceinline__ int64_t vector_of_thread(int64_t block, int u) {
    return (block * kMapVectors + u) * kMapThreads + threadIdx.x;
}

// out = f(in[0], ..., in[N - 1]), item by item.
template <class T, int N>
struct Map {
    MatrixView<const T> in[N];
    MatrixView<T> out;
};

template <int W, class T, int N, class F>
__device__ void map_items(const Map<T, N>& map, F f) {
    const int64_t vectors = map.out.rows * map.out.cols / W;
    Vector<T, W> in[kMapVectors][N];
#pragma unroll
    for (int u = 0; u < kMapVectors; ++u)
#pragma unroll
        for (int n = 0; n < N; ++n)
            if (vector_of_thread(blockIdx.x, u) < vectors)
                in[u][n] = load_items<W>(map.in[n], vector_of_thread(blockIdx.x, u));
#pragma unroll
    for (int u = 0; u < kMapVectors; ++u) {
        if (vector_of_thread(blockIdx.x, u) >= vectors) return;
        Vector<T, W> out;
#pragma unroll
        for (int l = 0; l < W; ++l) {
            T items[N];
            for (int n = 0; n < N; ++n) items[n] = in[u][n][l];
            out[l] = f(items);
        }
        store_items<W>(map.out, vector_of_thread(blockIdx.x, u), out);
    }
}

// Neighbouring threads should take neighbouring items of the result: a matrix stored by columns is replaced by its
// transpose.
template <class T, int N>
void walk_along_memory(Map<T, N>& map) {
    if (magnitude(map.out.col_stride) <= magnitude(map.out.row_stride) || map.out.rows <= 1) return;
    map.out = map.out.transposed();
    for (auto& in : map.in) in = in.transposed();
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
