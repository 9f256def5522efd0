#include "cpu/image_rows.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T>
void put_zeros(T* to, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = T(0);
}

template <class T>
void copy_pixels(const TensorView<const T>& x, int64_t image, int64_t row, Range columns, T* to) {
    const int64_t channels = x.extent[3];
    const T* const from = x.data + image * x.stride[0] + row * x.stride[1];
    if (x.stride[3] == 1 && x.stride[2] == channels) {
        const T* const first = from + columns.begin * channels;
        const int64_t n = (columns.end - columns.begin) * channels;
        for (int64_t i = 0; i < n; ++i) to[i] = first[i];
        return;
    }
    for (int64_t column = columns.begin; column < columns.end; ++column, to += channels)
        for (int64_t c = 0; c < channels; ++c) to[c] = from[column * x.stride[2] + c * x.stride[3]];
}

}  // namespace

template <class T>
ImagePart<T> part_of_image(const TensorView<const T>& x, int64_t image, Range rows, Range columns, bool gapless,
                           T* buffer) {
    const int64_t height = x.extent[1], width = x.extent[2], channels = x.extent[3];
    const int64_t row_items = (columns.end - columns.begin) * channels;
    const bool inside = rows.begin >= 0 && rows.end <= height && columns.begin >= 0 && columns.end <= width;
    const bool dense = x.stride[3] == 1 && x.stride[2] == channels && (!gapless || x.stride[1] == row_items);
    if (inside && dense)
        return {x.data + image * x.stride[0] + rows.begin * x.stride[1] + columns.begin * channels, x.stride[1]};
    const auto clipped = [](int64_t value, int64_t end) { return value < 0 ? 0 : value > end ? end : value; };
    const Range within{clipped(columns.begin, width), clipped(columns.end, width)};
    T* to = buffer;
    for (int64_t row = rows.begin; row < rows.end; ++row, to += row_items) {
        if (row < 0 || row >= height || within.empty()) {
            put_zeros(to, row_items);
            continue;
        }
        const int64_t before = (within.begin - columns.begin) * channels;
        const int64_t end = (within.end - columns.begin) * channels;
        put_zeros(to, before);
        copy_pixels(x, image, row, within, to + before);
        put_zeros(to + end, row_items - end);
    }
    return {buffer, row_items};
}

template ImagePart<float> part_of_image(const TensorView<const float>&, int64_t, Range, Range, bool, float*);
template ImagePart<double> part_of_image(const TensorView<const double>&, int64_t, Range, Range, bool, double*);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
