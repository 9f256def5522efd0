// Windows of images (n, h, w, c): a thread takes kWidth channels of a window, or of an item.
#pragma once

#include "common/windows.h"
#include "cuda/device/tensors.cuh"
#include "cuda/launch.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int kPoolThreads = 256;

// The place of a thread's items: an image, a row, a column, and the first of its channels.
struct ImagePlace {
    int64_t image, row, column, channel;
};

template <class Index>
__device__ __forceinline__ ImagePlace divided(Index e, Index vectors, Index columns, Index rows) {
    const Index c = e / vectors, k = c / columns, i = k / rows;
    return {i, k - i * rows, c - k * columns, e - c * vectors};
}

// Place number e of those in an array, counted in vectors of kWidth channels. Numbers of 32 bits are divided several
// times as fast.
template <int kWidth, class T>
__device__ __forceinline__ ImagePlace place_of(const TensorView<T>& view, int64_t e) {
    const int64_t vectors = view.extent[3] / kWidth, columns = view.extent[2], rows = view.extent[1];
    ImagePlace at = fits_small_index(view.size())
                        ? divided<uint32_t>(static_cast<uint32_t>(e), static_cast<uint32_t>(vectors),
                                            static_cast<uint32_t>(columns), static_cast<uint32_t>(rows))
                        : divided<int64_t>(e, vectors, columns, rows);
    at.channel *= kWidth;
    return at;
}

template <class T>
__device__ __forceinline__ int64_t offset_of(const TensorView<T>& view, const ImagePlace& at) {
    return at.image * view.stride[0] + at.row * view.stride[1] + at.column * view.stride[2] +
           at.channel * view.stride[3];
}

template <int kWidth, class T>
__device__ __forceinline__ Vector<std::remove_const_t<T>, kWidth> load_at(const TensorView<T>& view, int64_t offset) {
    return *reinterpret_cast<const Vector<std::remove_const_t<T>, kWidth>*>(view.data + offset);
}

template <int kWidth, class T>
__device__ __forceinline__ void store_at(const TensorView<T>& view, const ImagePlace& at, const Vector<T, kWidth>& v) {
    *reinterpret_cast<Vector<T, kWidth>*>(view.data + offset_of(view, at)) = v;
}

// Calls f(offset, position) for the items of a window that lie within the image.
template <class T, class F>
__device__ __forceinline__ void for_each_item(const Windows& windows, const TensorView<T>& image, const ImagePlace& at,
                                              F f) {
    const ImagePlace start{at.image, windows.rows.start(at.row), windows.columns.start(at.column), at.channel};
    const int64_t first = offset_of(image, start);
    const int64_t u_end = windows.rows.end_place(at.row, image.extent[1]);
    const int64_t v_end = windows.columns.end_place(at.column, image.extent[2]);
    for (int64_t u = windows.rows.first_place(at.row); u < u_end; ++u)
        for (int64_t v = windows.columns.first_place(at.column); v < v_end; ++v)
            f(first + u * image.stride[1] + v * image.stride[2], static_cast<int>(u * windows.columns.size + v));
}

// Calls f(window, position) for the windows that contain an item, in order, with its position in each.
template <class T, class F>
__device__ __forceinline__ void for_each_window(const Windows& windows, const TensorView<T>& pooled,
                                                const ImagePlace& at, F f) {
    const int64_t i_end = windows.rows.end_window(at.row, pooled.extent[1]);
    const int64_t k_end = windows.columns.end_window(at.column, pooled.extent[2]);
    for (int64_t i = windows.rows.first_window(at.row); i < i_end; ++i)
        for (int64_t k = windows.columns.first_window(at.column); k < k_end; ++k) {
            const int64_t u = at.row - windows.rows.start(i), v = at.column - windows.columns.start(k);
            f(ImagePlace{at.image, i, k, at.channel}, static_cast<int>(u * windows.columns.size + v));
        }
}

// Launches a kernel for vectors of 16 bytes, or for single items, with a thread for each of those in `view`.
template <class T, class Kernel, class Op, class U>
void launch_pooling(const Stream& stream, bool in_vectors, Kernel vector_kernel, Kernel item_kernel,
                    const TensorView<U>& view, const Op& op) {
    const int64_t threads = view.size() / (in_vectors ? kVectorWidth<T> : 1);
    launch_kernel(stream, in_vectors ? vector_kernel : item_kernel,
                  dim3(static_cast<unsigned>(blocks_for(threads, kPoolThreads))), dim3(kPoolThreads), 0, stream.guard(),
                  op, threads);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
