#include "cpu/run.h"
#include "cpu/windows.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kBlock = 512;  // items that are summed before their sum is added to those of other blocks

// The sums of kVectors vectors of a run, from item j on.
template <int kVectors, class Items, class Window, class T>
STEEPEST_HD void sum_window(const Items& items, const Window& window, const T* x, int64_t j, int lanes,
                            Vec<T> (&total)[kVectors]) {
    using V = Vec<T>;
    V sum[kVectors];
    for (int v = 0; v < kVectors; ++v) sum[v] = total[v] = V(0);
    int left = kBlock;
    window.each([&](int64_t offset, int) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[v] = sum[v] + items.load(x + offset, j + v * V::kSize, lanes);
        if constexpr (!Window::kFew) {
            if (--left > 0) return;
            for (int v = 0; v < kVectors; ++v) total[v] = total[v] + sum[v], sum[v] = V(0);
            left = kBlock;
        }
    });
    for (int v = 0; v < kVectors; ++v) total[v] = total[v] + sum[v];
}

// The number of items by which the mean over a window divides.
template <class Op, class View>
STEEPEST_HD int64_t items_of_mean(const Op& op, const View& image, int64_t row, int64_t column) {
    return op.windows.rows.counted(row, image.extent[1], op.count_padding) *
           op.windows.columns.counted(column, image.extent[2], op.count_padding);
}

// A sum divided by a number: by its reciprocal where this is exact.
template <class T>
struct Divide {
    Vec<T> divisor, reciprocal;
    bool exact;

    explicit STEEPEST_HD Divide(int64_t n)
        : divisor(static_cast<T>(n)), reciprocal(T(1) / static_cast<T>(n)), exact((n & (n - 1)) == 0) {}
    STEEPEST_HD Vec<T> operator()(Vec<T> sum) const { return exact ? sum * reciprocal : sum / divisor; }
};

// Each item lies in one window at most: it is written from there, and what lies in none is cleared.
template <class T>
void write_from_windows(const ops::AvgPool2dBackward<T>& op, const Arrangement& how, Team& team) {
    using V = Vec<T>;
    const SpreadGroups<T> groups(op.d_x.extent[3], op.windows.columns);
    const bool covered = op.windows.rows.tiles(op.d_x.extent[1]) && op.windows.columns.tiles(op.d_x.extent[2]);
    const auto begin_row = [&](const ImagePlace& at) {
        if (!covered) clear_rows_of(op.windows, op.d_x, at, op.d_y.extent[1]);
    };
    const auto write = [&](const auto& items, const auto& window, const ImagePlace& place, int64_t n) {
        const T* const d_y = op.d_y.data + offset_of(op.d_y, place);
        T* const d_x = op.d_x.data + offset_of(op.d_x, start_of(op.windows, place));
        const int64_t d_y_stride = items.stride_of(op.d_y), d_x_stride = items.stride_of(op.d_x);
        const Divide<T> mean(items_of_mean(op, op.d_x, place.row, place.column));
        items.each(n, [&](int64_t j, int lanes, auto vectors) {
            constexpr int kVectors = vectors;
            V gradients[kVectors];
            for (int v = 0; v < kVectors; ++v)
                gradients[v] = mean(load_items(d_y + (j + v * V::kSize) * d_y_stride, d_y_stride, lanes));
            if constexpr (std::is_same_v<decltype(items), const SpreadGroups<T>&>) {
                window.each_row([&](int64_t offset, int) {
                    items.store(d_x + offset, j, lanes,
                                [&](V, const Picker<T>& pick) { return pick(gradients[0], gradients[0]); });
                });
            } else {
                window.each([&](int64_t offset, int) {
#pragma GCC unroll 4
                    for (int v = 0; v < kVectors; ++v)
                        store_items(gradients[v], d_x + offset + (j + v * V::kSize) * d_x_stride, d_x_stride, lanes);
                });
            }
        });
    };
    for_my_windows<T>(op.windows, how, op.d_x, op.d_y, groups, team, begin_row, write);
}

template <class T>
void sum_over_windows(const ops::AvgPool2dBackward<T>& op, const Arrangement& how, Team& team) {
    using V = Vec<T>;
    const Windows& windows = op.windows;
    const bool alike = op.count_padding || (windows.rows.padding == 0 && windows.columns.padding == 0);
    const T common = T(1) / static_cast<T>(windows.rows.size * windows.columns.size);
    for_my_items<T>(
        op.windows, how, op.d_x, op.d_y, alike, team, [&](const auto& items, const auto& around, int64_t n) {
            const T* const d_y = op.d_y.data + offset_of(op.d_y, around.first);
            T* const d_x = op.d_x.data + offset_of(op.d_x, around.item);
            const int64_t d_y_stride = items.stride_of(op.d_y), d_x_stride = items.stride_of(op.d_x);
            items.each(n, [&](int64_t j, int lanes, auto vectors) {
                constexpr int kVectors = vectors;
                V sum[kVectors];
                for (int v = 0; v < kVectors; ++v) sum[v] = V(0);
                around.each([&](int64_t i, int64_t k, int) {
                    const T* const gradients = d_y + i * op.d_y.stride[1] + k * op.d_y.stride[2];
                    const V share(alike ? common
                                        : T(1) / static_cast<T>(items_of_mean(op, op.d_x, around.first.row + i,
                                                                              around.first.column + k)));
#pragma GCC unroll 4
                    for (int v = 0; v < kVectors; ++v)
                        sum[v] = fma(load_items(gradients + (j + v * V::kSize) * d_y_stride, d_y_stride, lanes), share,
                                     sum[v]);
                });
                for (int v = 0; v < kVectors; ++v)
                    store_items(sum[v], d_x + (j + v * V::kSize) * d_x_stride, d_x_stride, lanes);
            });
        });
}

}  // namespace

template <class T>
void run(const ops::AvgPool2d<T>& op, Team& team) {
    using V = Vec<T>;
    if (op.out.size() == 0) return;
    const PickedGroups<T> groups(op.x.extent[3], op.windows.columns.stride);
    const auto average = [&](const auto& items, const auto& window, const ImagePlace& place, int64_t n) {
        const T* const x = op.x.data + offset_of(op.x, start_of(op.windows, place));
        T* const out = op.out.data + offset_of(op.out, place);
        const int64_t out_stride = items.stride_of(op.out);
        const Divide<T> mean(items_of_mean(op, op.x, place.row, place.column));
        items.each(n, [&](int64_t j, int lanes, auto vectors) {
            constexpr int kVectors = vectors;
            V sum[kVectors];
            sum_window<kVectors>(items, window, x, j, lanes, sum);
            for (int v = 0; v < kVectors; ++v)
                store_items(mean(sum[v]), out + (j + v * V::kSize) * out_stride, out_stride, lanes);
        });
    };
    for_my_windows<T>(
        op.windows, Arrangement(op.x, op.out), op.x, op.out, groups, team, [](const ImagePlace&) {}, average);
}

template <class T>
void run(const ops::AvgPool2dBackward<T>& op, Team& team) {
    if (op.d_x.size() == 0) return;
    const Arrangement how(op.d_x, op.d_y);
    if (op.windows.overlap()) return sum_over_windows(op, how, team);
    write_from_windows(op, how, team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(AvgPool2d)
STEEPEST_INSTANTIATE(AvgPool2dBackward)
