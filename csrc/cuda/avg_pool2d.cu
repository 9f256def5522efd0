#include "cuda/device/guard.cuh"
#include "cuda/device/windows.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kBlock = 512;  // items that are summed before their sum is added to those of other blocks

// The number of items by which the mean over a window divides.
template <class Op, class T>
__device__ __forceinline__ T items_of_mean(const Op& op, const TensorView<T>& image, const ImagePlace& window) {
    return static_cast<T>(op.windows.rows.counted(window.row, image.extent[1], op.count_padding) *
                          op.windows.columns.counted(window.column, image.extent[2], op.count_padding));
}

template <int W, class T>
__global__ void __launch_bounds__(kPoolThreads) avg_pool2d_kernel(Guard guard, ops::AvgPool2d<T> op, int64_t threads) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kPoolThreads + threadIdx.x;
    if (e >= threads) return;
    const ImagePlace at = place_of<W>(op.out, e);
    Vector<T, W> sum, total;
    for (int l = 0; l < W; ++l) sum[l] = total[l] = T(0);
    int left = kBlock;
    for_each_item(op.windows, op.x, at, [&](int64_t offset, int) {
        const auto items = load_at<W>(op.x, offset);
        for (int l = 0; l < W; ++l) sum[l] += items[l];
        if (--left > 0) return;
        for (int l = 0; l < W; ++l) total[l] += sum[l], sum[l] = T(0);
        left = kBlock;
    });
    const T count = items_of_mean(op, op.x, at);
    for (int l = 0; l < W; ++l) total[l] = (total[l] + sum[l]) / count;
    store_at(op.out, at, total);
}

template <int W, class T>
__global__ void __launch_bounds__(kPoolThreads)
    avg_pool2d_backward_kernel(Guard guard, ops::AvgPool2dBackward<T> op, int64_t threads) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kPoolThreads + threadIdx.x;
    if (e >= threads) return;
    const ImagePlace at = place_of<W>(op.d_x, e);
    Vector<T, W> sum;
    for (int l = 0; l < W; ++l) sum[l] = T(0);
    for_each_window(op.windows, op.d_y, at, [&](const ImagePlace& window, int) {
        const auto gradients = load_at<W>(op.d_y, offset_of(op.d_y, window));
        const T count = items_of_mean(op, op.d_x, window);
        for (int l = 0; l < W; ++l) sum[l] += gradients[l] / count;
    });
    store_at(op.d_x, at, sum);
}

}  // namespace

template <class T>
void launch(const ops::AvgPool2d<T>& op, Stream& stream) {
    launch_pooling<T>(stream, is_in_words(op.x, 16) && is_in_words(op.out, 16), avg_pool2d_kernel<kVectorWidth<T>, T>,
                      avg_pool2d_kernel<1, T>, op.out, op);
}

template <class T>
void launch(const ops::AvgPool2dBackward<T>& op, Stream& stream) {
    launch_pooling<T>(stream, is_in_words(op.d_x, 16) && is_in_words(op.d_y, 16),
                      avg_pool2d_backward_kernel<kVectorWidth<T>, T>, avg_pool2d_backward_kernel<1, T>, op.d_x, op);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(AvgPool2d)
STEEPEST_INSTANTIATE(AvgPool2dBackward)
