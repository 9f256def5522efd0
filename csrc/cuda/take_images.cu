#include "common/augmentation.h"
#include "cuda/device/row_indices.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = kScanThreads;

struct ImageMemory {
    RowCheckMemory check;
    SharedArray<ImagePlacement, 2> placement;  // of the block's image and of the next one
    SharedArray<double, 1> weight;
};

// A pixel's channel in an image of the result.
struct ItemPlace {
    int64_t y, x, channel;

    __device__ void advance(int64_t columns, int64_t channels) {
        if (++channel < channels) return;
        channel = 0;
        if (++x == columns) x = 0, ++y;
    }
};

template <class T, class S>
__device__ __forceinline__ T item_of(const ops::TakeImages<T>& op, const TensorView<const S>& images, int64_t image,
                                     const ImagePlacement& at, const ItemPlace& item) {
    const int64_t y = at.top + (at.flips_rows ? op.out.extent[1] - 1 - item.y : item.y);
    const int64_t x = at.left + (at.flips_columns ? op.out.extent[2] - 1 - item.x : item.x);
    const bool is_cut = at.cuts_row(item.y) && item.x >= at.cut_left && item.x < at.cut_right;
    if (is_cut || y < 0 || y >= images.extent[1] || x < 0 || x >= images.extent[2]) return op.fill;
    const S pixel = images.data[image * images.stride[0] + y * images.stride[1] + x * images.stride[2] +
                                item.channel * images.stride[3]];
    return converted(static_cast<T>(pixel), op.scale.of(item.channel), op.offset.of(item.channel));
}

// A block writes a part of one image; blocks_of_image blocks write it all. A thread writes a vector of items that follow
// one another, in one store if the images of the result are made of `whole` vectors.
template <bool kWhole, class T, class S>
__global__ void __launch_bounds__(kThreads)
    take_images_kernel(Guard guard, ops::TakeImages<T> op, TensorView<const S> images, RowIndices taken, bool checked,
                       int64_t blocks_of_image) {
    auto& memory = shared_memory<ImageMemory>();
    if (!rows_are_valid(guard, taken, checked, memory.check.row)) return;
    const int64_t i = blockIdx.x / blocks_of_image, part = blockIdx.x - i * blocks_of_image;
    if (i >= taken.count) return;
    const int64_t next = i + 1 < taken.count ? i + 1 : 0;
    const int64_t h = op.out.extent[1], w = op.out.extent[2], c = op.out.extent[3];
    const int64_t start = taken.start.get(), stream = op.stream.get();
    if (threadIdx.x < 2)
        memory.placement[threadIdx.x] = place_image(op.rules, stream, start + (threadIdx.x == 0 ? i : next),
                                                    {images.extent[1], images.extent[2]}, {h, w});
    if (op.mixes() && threadIdx.x == kWarp) {
        const double weight = mixing_weight(op.rules, stream, start + i);
        memory.weight[0] = weight;
        if (part == 0) op.mix_weights[i] = static_cast<T>(weight);
    }
    __syncthreads();  // placements and weight are drawn

    constexpr int kWidth = kVectorWidth<T>;
    const int64_t first = (part * kThreads + threadIdx.x) * kWidth, items = h * w * c;
    if (first >= items) return;
    const int64_t row = first / (w * c), rest = first - row * (w * c), x = rest / c;
    ItemPlace item{row, x, rest - x * c};
    const ImagePlacement own = memory.placement[0];
    T* const out = op.out.data + i * op.out.stride[0];
    Vector<T, kWidth> values;
#pragma unroll
    for (int l = 0; l < kWidth; ++l, item.advance(w, c)) {
        if (!kWhole && first + l >= items) return;
        T value = item_of(op, images, taken.index_of(i), own, item);
        if (op.mixes()) {
            const T weight = static_cast<T>(memory.weight[0]);
            const T other = item_of(op, images, taken.index_of(next), memory.placement[1], item);
            value = mixed(value, other, weight, 1 - weight);
        }
        if (kWhole)
            values[l] = value;
        else
            out[item.y * op.out.stride[1] + item.x * op.out.stride[2] + item.channel * op.out.stride[3]] = value;
    }
    if (kWhole) *reinterpret_cast<Vector<T, kWidth>*>(out + first) = values;
}

// Whether every image of the result is contiguous and made of whole vectors.
template <class T>
bool has_vector_images(const TensorView<T>& out) {
    const int64_t c = out.extent[3], w = out.extent[2], h = out.extent[1];
    const bool contiguous =
        (c == 1 || out.stride[3] == 1) && (w == 1 || out.stride[2] == c) && (h == 1 || out.stride[1] == w * c);
    return contiguous && reinterpret_cast<uintptr_t>(out.data) % 16 == 0 && h * w * c % kVectorWidth<T> == 0 &&
           out.stride[0] % kVectorWidth<T> == 0;
}

template <class T, class S>
void launch_from(const ops::TakeImages<T>& op, const TensorView<const S>& images, Stream& stream) {
    const RowIndices taken{op.rows, op.start, op.out.extent[0], images.extent[0], number_of(op)};
    const int64_t items = op.out.extent[1] * op.out.extent[2] * op.out.extent[3];
    const int64_t filled = blocks_for(items, kThreads * kVectorWidth<T>), blocks_of_image = filled > 0 ? filled : 1;
    const int64_t all = taken.count * blocks_of_image, blocks = all > 0 ? all : 1;  // at least one, to check the start
    const bool checked = check_rows_before(taken, blocks, stream);
    launch_kernel(stream, has_vector_images(op.out) ? take_images_kernel<true, T, S> : take_images_kernel<false, T, S>,
                  dim3(static_cast<unsigned>(blocks)), dim3(kThreads), sizeof(ImageMemory), stream.guard(), op, images,
                  taken, checked, blocks_of_image);
}

}  // namespace

template <class T>
void launch(const ops::TakeImages<T>& op, Stream& stream) {
    if (op.pixels) return launch_from(op, op.pixels, stream);
    launch_from(op, op.images, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(TakeImages)
