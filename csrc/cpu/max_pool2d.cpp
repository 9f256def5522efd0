#include "cpu/run.h"
#include "cpu/windows.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T>
STEEPEST_HD Vec<T> load_positions(const uint8_t* p, int64_t stride, int lanes) {
    if (stride == 1) return load_bytes<T>(p, lanes);
    uint8_t bytes[Vec<T>::kSize];
    for (int l = 0; l < lanes; ++l) bytes[l] = p[l * stride];
    return load_bytes<T>(bytes, lanes);
}

template <class T>
STEEPEST_HD void store_positions(Vec<T> at, uint8_t* p, int64_t stride, int lanes) {
    if (stride == 1) return store_bytes(at, p, lanes);
    uint8_t bytes[Vec<T>::kSize];
    store_bytes(at, bytes, lanes);
    for (int l = 0; l < lanes; ++l) p[l * stride] = bytes[l];
}

// The first largest item of each window of kVectors vectors of a run, from item j on, and its position. Returns whether
// no item is NaN: otherwise only kMayBeNan finds the first of these. To look at each item costs more than to look at
// their sum, which is NaN, too.
template <bool kMayBeNan, int kVectors, class Items, class Window, class T>
STEEPEST_HD bool find_largest(const Items& items, const Window& window, const T* x, int64_t j, int lanes,
                              Vec<T> (&largest)[kVectors], Vec<T> (&at)[kVectors]) {
    using V = Vec<T>;
    V sum[kVectors];
    for (int v = 0; v < kVectors; ++v) sum[v] = largest[v] = at[v] = V(0);
    window.each([&](int64_t offset, int position) {
        const V number(position);
        const bool first = position == window.first();
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
            const V item = items.load(x + offset, j + v * V::kSize, lanes);
            if (first) {
                sum[v] = largest[v] = item, at[v] = number;
            } else if constexpr (kMayBeNan) {
                const auto found = exceeds(item, largest[v]);
                largest[v] = select(found, item, largest[v]), at[v] = select(found, number, at[v]);
            } else {
                at[v] = select(item > largest[v], number, at[v]);
                largest[v] = max(item, largest[v]), sum[v] = sum[v] + item;
            }
        }
    });
    for (int v = 1; v < kVectors; ++v) sum[0] = sum[0] + sum[v];
    return !any_nan(sum[0]);
}

// Each item is the maximum of one window at most: it is written from there, and what lies in no window is cleared.
template <class T>
void write_from_windows(const ops::MaxPool2dBackward<T>& op, const Arrangement& how, Team& team) {
    using V = Vec<T>;
    const SpreadGroups<T> groups(op.d_x.extent[3], op.windows.columns);
    const bool covered = op.windows.rows.tiles(op.d_x.extent[1]) && op.windows.columns.tiles(op.d_x.extent[2]);
    const auto begin_row = [&](const ImagePlace& at) {
        if (!covered) clear_rows_of(op.windows, op.d_x, at, op.d_y.extent[1]);
    };
    const auto write = [&](const auto& items, const auto& window, const ImagePlace& place, int64_t n) {
        const T* const d_y = op.d_y.data + offset_of(op.d_y, place);
        const uint8_t* const index = op.index.data + offset_of(op.index, place);
        T* const d_x = op.d_x.data + offset_of(op.d_x, start_of(op.windows, place));
        const int64_t d_y_stride = items.stride_of(op.d_y), index_stride = items.stride_of(op.index);
        const int64_t d_x_stride = items.stride_of(op.d_x);
        items.each(n, [&](int64_t j, int lanes, auto vectors) {
            constexpr int kVectors = vectors;
            V gradients[kVectors], positions[kVectors];
            for (int v = 0; v < kVectors; ++v) {
                const int64_t k = j + v * V::kSize;
                gradients[v] = load_items(d_y + k * d_y_stride, d_y_stride, lanes);
                positions[v] = load_positions<T>(index + k * index_stride, index_stride, lanes);
            }
            if constexpr (std::is_same_v<decltype(items), const SpreadGroups<T>&>) {
                const V gradient = gradients[0], at = positions[0];
                window.each_row([&](int64_t offset, int position) {
                    items.store(d_x + offset, j, lanes, [&](V column, const Picker<T>& pick) {
                        return select(pick(at, at) == V(position) + column, pick(gradient, gradient), V(0));
                    });
                });
            } else {
                window.each([&](int64_t offset, int position) {
                    const V wanted(position);
#pragma GCC unroll 4
                    for (int v = 0; v < kVectors; ++v)
                        store_items(select(positions[v] == wanted, gradients[v], V(0)),
                                    d_x + offset + (j + v * V::kSize) * d_x_stride, d_x_stride, lanes);
                });
            }
        });
    };
    for_my_windows<T>(op.windows, how, op.d_x, op.d_y, groups, team, begin_row, write);
}

template <class T>
void sum_over_windows(const ops::MaxPool2dBackward<T>& op, const Arrangement& how, Team& team) {
    using V = Vec<T>;
    for_my_items<T>(op.windows, how, op.d_x, op.d_y, true, team, [&](const auto& items, const auto& around, int64_t n) {
        const T* const d_y = op.d_y.data + offset_of(op.d_y, around.first);
        const uint8_t* const index = op.index.data + offset_of(op.index, around.first);
        T* const d_x = op.d_x.data + offset_of(op.d_x, around.item);
        const int64_t d_y_stride = items.stride_of(op.d_y), index_stride = items.stride_of(op.index);
        const int64_t d_x_stride = items.stride_of(op.d_x);
        items.each(n, [&](int64_t j, int lanes, auto vectors) {
            constexpr int kVectors = vectors;
            V sum[kVectors];
            for (int v = 0; v < kVectors; ++v) sum[v] = V(0);
            around.each([&](int64_t i, int64_t k, int position) {
                const T* const gradients = d_y + i * op.d_y.stride[1] + k * op.d_y.stride[2];
                const uint8_t* const positions = index + i * op.index.stride[1] + k * op.index.stride[2];
                const V wanted(position);
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; ++v) {
                    const int64_t e = j + v * V::kSize;
                    const V at = load_positions<T>(positions + e * index_stride, index_stride, lanes);
                    const V gradient = load_items(gradients + e * d_y_stride, d_y_stride, lanes);
                    sum[v] = sum[v] + select(at == wanted, gradient, V(0));
                }
            });
            for (int v = 0; v < kVectors; ++v)
                store_items(sum[v], d_x + (j + v * V::kSize) * d_x_stride, d_x_stride, lanes);
        });
    });
}

}  // namespace

template <class T>
void run(const ops::MaxPool2d<T>& op, Team& team) {
    using V = Vec<T>;
    if (op.out.size() == 0) return;
    const PickedGroups<T> groups(op.x.extent[3], op.windows.columns.stride);
    const auto find = [&](const auto& items, const auto& window, const ImagePlace& place, int64_t n) {
        const T* const x = op.x.data + offset_of(op.x, start_of(op.windows, place));
        T* const out = op.out.data + offset_of(op.out, place);
        uint8_t* const index = op.index.data + offset_of(op.index, place);
        const int64_t out_stride = items.stride_of(op.out), index_stride = items.stride_of(op.index);
        items.each(n, [&](int64_t j, int lanes, auto vectors) {
            constexpr int kVectors = vectors;
            V largest[kVectors], at[kVectors];
            if (!find_largest<false, kVectors>(items, window, x, j, lanes, largest, at))
                find_largest<true, kVectors>(items, window, x, j, lanes, largest, at);
            for (int v = 0; v < kVectors; ++v) {
                const int64_t k = j + v * V::kSize;
                store_items(largest[v], out + k * out_stride, out_stride, lanes);
                store_positions(at[v], index + k * index_stride, index_stride, lanes);
            }
        });
    };
    for_my_windows<T>(
        op.windows, Arrangement(op.x, op.out, op.index), op.x, op.out, groups, team, [](const ImagePlace&) {}, find);
}

template <class T>
void run(const ops::MaxPool2dBackward<T>& op, Team& team) {
    if (op.d_x.size() == 0) return;
    const Arrangement how(op.d_x, op.d_y, op.index);
    if (op.windows.overlap()) return sum_over_windows(op, how, team);
    write_from_windows(op, how, team);
}

template <class T>
void run(const ops::MaxPool2dGather<T>& op, Team& team) {
    using V = Vec<T>;
    if (op.out.size() == 0) return;
    const PickedGroups<T> groups(op.dx.extent[3], op.windows.columns.stride);
    const auto gather = [&](const auto& items, const auto& window, const ImagePlace& place, int64_t n) {
        const T* const dx = op.dx.data + offset_of(op.dx, start_of(op.windows, place));
        T* const out = op.out.data + offset_of(op.out, place);
        const uint8_t* const index = op.index.data + offset_of(op.index, place);
        const int64_t out_stride = items.stride_of(op.out), index_stride = items.stride_of(op.index);
        items.each(n, [&](int64_t j, int lanes, auto vectors) {
            constexpr int kVectors = vectors;
            V found[kVectors], at[kVectors];
            for (int v = 0; v < kVectors; ++v) {
                at[v] = load_positions<T>(index + (j + v * V::kSize) * index_stride, index_stride, lanes);
                found[v] = V(0);
            }
            window.each([&](int64_t offset, int position) {
                const V wanted(position);
#pragma GCC unroll 4
                for (int v = 0; v < kVectors; ++v)
                    found[v] = select(at[v] == wanted, items.load(dx + offset, j + v * V::kSize, lanes), found[v]);
            });
            for (int v = 0; v < kVectors; ++v)
                store_items(found[v], out + (j + v * V::kSize) * out_stride, out_stride, lanes);
        });
    };
    for_my_windows<T>(
        op.windows, Arrangement(op.dx, op.out, op.index), op.dx, op.out, groups, team, [](const ImagePlace&) {},
        gather);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(MaxPool2d)
STEEPEST_INSTANTIATE(MaxPool2dBackward)
STEEPEST_INSTANTIATE(MaxPool2dGather)
