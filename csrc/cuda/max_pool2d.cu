#include "cuda/device/guard.cuh"
#include "cuda/device/windows.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <int W, class T>
__global__ void __launch_bounds__(kPoolThreads) max_pool2d_kernel(Guard guard, ops::MaxPool2d<T> op, int64_t threads) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kPoolThreads + threadIdx.x;
    if (e >= threads) return;
    const ImagePlace at = place_of<W>(op.out, e);
    Vector<T, W> largest;
    Vector<uint8_t, W> index;
    bool first = true;
    for_each_item(op.windows, op.x, at, [&](int64_t offset, int position) {
        const auto items = load_at<W>(op.x, offset);
        for (int l = 0; l < W; ++l) {
            // The first NaN stays.
            if (!first && (items[l] <= largest[l] || largest[l] != largest[l])) continue;
            largest[l] = items[l], index[l] = static_cast<uint8_t>(position);
        }
        first = false;
    });
    store_at(op.out, at, largest), store_at(op.index, at, index);
}

template <int W, class T>
__global__ void __launch_bounds__(kPoolThreads)
    max_pool2d_backward_kernel(Guard guard, ops::MaxPool2dBackward<T> op, int64_t threads) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kPoolThreads + threadIdx.x;
    if (e >= threads) return;
    const ImagePlace at = place_of<W>(op.d_x, e);
    Vector<T, W> sum;
    for (int l = 0; l < W; ++l) sum[l] = T(0);
    for_each_window(op.windows, op.d_y, at, [&](const ImagePlace& window, int position) {
        const auto gradients = load_at<W>(op.d_y, offset_of(op.d_y, window));
        const auto index = load_at<W>(op.index, offset_of(op.index, window));
        for (int l = 0; l < W; ++l)
            if (index[l] == position) sum[l] += gradients[l];
    });
    store_at(op.d_x, at, sum);
}

template <int W, class T>
__global__ void __launch_bounds__(kPoolThreads)
    max_pool2d_gather_kernel(Guard guard, ops::MaxPool2dGather<T> op, int64_t threads) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kPoolThreads + threadIdx.x;
    if (e >= threads) return;
    const ImagePlace at = place_of<W>(op.out, e);
    const auto index = load_at<W>(op.index, offset_of(op.index, at));
    Vector<T, W> found;
    for (int l = 0; l < W; ++l) found[l] = T(0);
    for_each_item(op.windows, op.dx, at, [&](int64_t offset, int position) {
        const auto items = load_at<W>(op.dx, offset);
        for (int l = 0; l < W; ++l)
            if (index[l] == position) found[l] = items[l];
    });
    store_at(op.out, at, found);
}

// Whether the arrays can be read and written in vectors of 16 bytes, and the positions in as many bytes.
template <class T, class First, class Second, class Index>
bool are_in_vectors(const First& first, const Second& second, const Index& index) {
    return is_in_words(first, 16) && is_in_words(second, 16) && is_in_words(index, kVectorWidth<T>);
}

}  // namespace

template <class T>
void launch(const ops::MaxPool2d<T>& op, Stream& stream) {
    launch_pooling<T>(stream, are_in_vectors<T>(op.x, op.out, op.index), max_pool2d_kernel<kVectorWidth<T>, T>,
                      max_pool2d_kernel<1, T>, op.out, op);
}

template <class T>
void launch(const ops::MaxPool2dBackward<T>& op, Stream& stream) {
    launch_pooling<T>(stream, are_in_vectors<T>(op.d_x, op.d_y, op.index),
                      max_pool2d_backward_kernel<kVectorWidth<T>, T>, max_pool2d_backward_kernel<1, T>, op.d_x, op);
}

template <class T>
void launch(const ops::MaxPool2dGather<T>& op, Stream& stream) {
    launch_pooling<T>(stream, are_in_vectors<T>(op.dx, op.out, op.index), max_pool2d_gather_kernel<kVectorWidth<T>, T>,
                      max_pool2d_gather_kernel<1, T>, op.out, op);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(MaxPool2d)
STEEPEST_INSTANTIATE(MaxPool2dBackward)
STEEPEST_INSTANTIATE(MaxPool2dGather)
