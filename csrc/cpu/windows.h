// Walking over the windows of images (n, h, w, c), in runs of items that are computed alike. A run lies along the
// channels of one window. Windows side by side form one run where their channels follow one another: with a stride of 1
// in both arrays, otherwise in groups whose items are picked out of two vectors of the image.
#pragma once

#include <type_traits>

#include "common/windows.h"
#include "cpu/rows.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// A window, or an item, of an image.
struct ImagePlace {
    int64_t image, row, column;
};

template <class T>
STEEPEST_HD int64_t offset_of(const TensorView<T>& view, const ImagePlace& at) {
    return at.image * view.stride[0] + at.row * view.stride[1] + at.column * view.stride[2];
}

STEEPEST_HD void next_row(ImagePlace& at, int64_t rows) {
    at.column = 0;
    if (++at.row == rows) at.row = 0, ++at.image;
}

// Where the items of a window begin, which is outside of the image if the window does.
STEEPEST_HD ImagePlace start_of(const Windows& windows, const ImagePlace& window) {
    return {window.image, windows.rows.start(window.row), windows.columns.start(window.column)};
}

// ---- The items of a window: each(f) calls f(offset, position) along its rows, each_row(f) for the first of each row.

// A window within the image, of a size for which the loops are unrolled.
template <int kRows, int kColumns>
struct FullWindow {
    static constexpr bool kFew = true;
    int64_t row_stride, column_stride;

    STEEPEST_HD constexpr int first() const { return 0; }
    template <class F>
    STEEPEST_HD void each(F&& f) const {
#pragma GCC unroll 4
        for (int u = 0; u < kRows; ++u) {
#pragma GCC unroll 4
            for (int v = 0; v < kColumns; ++v) f(u * row_stride + v * column_stride, u * kColumns + v);
        }
    }
    template <class F>
    STEEPEST_HD void each_row(F&& f) const {
#pragma GCC unroll 4
        for (int u = 0; u < kRows; ++u) f(u * row_stride, u * kColumns);
    }
};

// The part of a window that lies within the image.
struct PartOfWindow {
    static constexpr bool kFew = false;
    int64_t row_stride, column_stride, width;
    Range rows, columns;

    STEEPEST_HD int first() const { return static_cast<int>(rows.begin * width + columns.begin); }
    template <class F>
    STEEPEST_HD void each(F&& f) const {
        for (int64_t u = rows.begin; u < rows.end; ++u)
            for (int64_t v = columns.begin; v < columns.end; ++v)
                f(u * row_stride + v * column_stride, static_cast<int>(u * width + v));
    }
    // For a window whose columns all lie within the image.
    template <class F>
    STEEPEST_HD void each_row(F&& f) const {
        for (int64_t u = rows.begin; u < rows.end; ++u) f(u * row_stride, static_cast<int>(u * width));
    }
};

// ---- The items of a run: each(n, f) calls f(j, lanes, vectors) for its vectors, of which it takes one or, where all
// lanes are full, kTogether at once: their chains of operations overlap. load(p, j, lanes) reads one of the image.

template <int kVectors>
using Vectors = std::integral_constant<int, kVectors>;

constexpr int kTogether = 4;

template <class T, bool kContiguous>
struct ItemsOfRun {
    int64_t stride;  // of the image's channels

    template <class F>
    STEEPEST_HD void each(int64_t n, F&& f) const {
        constexpr int kSize = Vec<T>::kSize;
        int64_t j = 0;
        if constexpr (kContiguous)
            for (; j + kTogether * kSize <= n; j += kTogether * kSize) f(j, kSize, Vectors<kTogether>());
        for_each_vector<T>(j, n, [&](int64_t k, int lanes) { f(k, lanes, Vectors<1>()); });
    }
    STEEPEST_HD Vec<T> load(const T* p, int64_t j, int lanes) const {
        return kContiguous ? load_items(p + j, 1, lanes) : load_items(p + j * stride, stride, lanes);
    }
    template <class U>
    STEEPEST_HD static int64_t stride_of(const TensorView<U>& view) {
        return kContiguous ? 1 : view.stride[3];
    }
};

// Several windows side by side, whose few channels fill a vector together.
template <class T>
struct GroupsOfWindows {
    static constexpr int kSize = Vec<T>::kSize;
    int64_t channels = 0, stride = 0, step = 0;  // step: the items of a group

    GroupsOfWindows(int64_t c, int64_t column_stride) : channels(c), stride(column_stride) {
        if (c < 1 || c > kSize || stride > 2 * kSize) return;
        const int64_t most = (2 * kSize - c) / (stride * c) + 1, fit = kSize / c;
        step = (fit < most ? fit : most) * c;
    }

    bool pay() const { return step > channels; }
    template <class F>
    STEEPEST_HD void each(int64_t n, F&& f) const {
        int64_t j = 0;
        for (; j + step <= n; j += step) f(j, static_cast<int>(step), Vectors<1>());
        if (j < n) f(j, static_cast<int>(n - j), Vectors<1>());
    }
    template <class U>
    STEEPEST_HD static int64_t stride_of(const TensorView<U>&) {
        return 1;
    }
};

// Groups whose items are read from the image.
template <class T>
struct PickedGroups : GroupsOfWindows<T> {
    using Groups = GroupsOfWindows<T>;
    using Groups::kSize;
    alignas(64) int32_t number[kSize] = {};

    PickedGroups(int64_t c, int64_t column_stride) : Groups(c, column_stride) {
        if (!this->pay()) return;
        for (int64_t l = 0; l < this->step; ++l) number[l] = static_cast<int32_t>(l / c * column_stride * c + l % c);
    }

    STEEPEST_HD Vec<T> load(const T* p, int64_t j, int lanes) const {
        const T* const from = p + j * this->stride;
        const auto span = static_cast<int>(lanes * this->stride - (this->stride - 1) * this->channels);
        const int first = span < kSize ? span : kSize;
        return Picker<T>(number)(Vec<T>::load(from, first), Vec<T>::load(from + kSize, span - first));
    }
};

// Groups whose windows lie side by side without a gap, and are written to a row of the image.
template <class T>
struct SpreadGroups : GroupsOfWindows<T> {
    using Groups = GroupsOfWindows<T>;
    using Groups::kSize;
    static constexpr int kMostParts = 4;
    alignas(64) int32_t number[kMostParts][kSize] = {};
    alignas(64) T column[kMostParts][kSize] = {};  // of an item in its window

    SpreadGroups(int64_t c, const WindowAxis& columns) : Groups(c, columns.stride) {
        if (columns.size != columns.stride || columns.stride > kMostParts) this->step = 0;
        if (!this->pay()) return;
        for (int64_t t = 0; t < this->step * this->stride; ++t) {
            const int64_t part = t / this->step, l = t % this->step, pixel = t / c;
            number[part][l] = static_cast<int32_t>(pixel / this->stride * c + t % c);
            column[part][l] = static_cast<T>(pixel % this->stride);
        }
    }

    // Writes the items of a group, `lanes` in each row and column of the windows, to a row at p: f(column, pick) gives
    // those of a vector, in whose windows they have the columns `column`.
    template <class F>
    STEEPEST_HD void store(T* p, int64_t j, int lanes, F&& f) const {
        T* const to = p + j * this->stride;
        const int64_t n = lanes * this->stride, step = this->step;
        for (int64_t part = 0; part * step < n; ++part) {
            const int64_t left = n - part * step;
            f(Vec<T>::load(column[part]), Picker<T>(number[part]))
                .store(to + part * step, static_cast<int>(left < step ? left : step));
        }
    }
};

// ---- The windows of a thread.

// This thread's rows, of `rows` in each image: whole images where there are many, so that a thread keeps its images
// from operation to operation.
STEEPEST_HD Range my_rows_of_images(int64_t images, int64_t rows, int64_t items, const Team& team) {
    constexpr int64_t kManyImages = 8, kGrain = 1024;  // for each thread; items
    const int64_t least = 1 + kGrain / (items + 1);
    const bool whole = images >= kManyImages * team.size();
    return team.split(images * rows, whole ? (least + rows - 1) / rows * rows : least);
}

// How the channels of a run lie, in the image and in the arrays with an item for each window.
struct Arrangement {
    bool contiguous;  // one behind the other
    bool joined;      // and those of the next column behind them

    template <class Image, class... Pooled>
    explicit Arrangement(const Image& image, const Pooled&... pooled) {
        const int64_t c = image.extent[3];
        contiguous = c == 1 || (image.stride[3] == 1 && ((pooled.stride[3] == 1) && ...));
        joined = contiguous && image.stride[2] == c && ((pooled.stride[2] == c) && ...);
    }
};

// Calls begin_row(place) for each of this thread's rows of windows, and f(items, window, place, n) for its runs of n
// items, of which `place` is the first window.
template <class T, class U, class V, class Groups, class BeginRow, class F>
STEEPEST_HD void for_my_windows(const Windows& windows, const Arrangement& how, const TensorView<U>& image,
                                const TensorView<V>& pooled, const Groups& groups, Team& team, BeginRow&& begin_row,
                                F&& f) {
    const WindowAxis &rows = windows.rows, &columns = windows.columns;
    const int64_t h = image.extent[1], w = image.extent[2], c = image.extent[3];
    const int64_t count = pooled.extent[1], across = pooled.extent[2];
    const int64_t row_stride = image.stride[1], column_stride = image.stride[2];

    // The windows that begin and end within the image's columns.
    Range inner{(columns.padding + columns.stride - 1) / columns.stride,
                w + columns.padding < columns.size ? 0 : (w + columns.padding - columns.size) / columns.stride + 1};
    if (inner.end > across) inner.end = across;
    if (inner.empty()) inner = {across, across};

    const bool one_run = how.joined && columns.stride == 1;
    const auto visit = [&](const auto& window, const ImagePlace& first, int64_t number) {
        if (!one_run && how.joined && number > 1 && groups.pay()) return f(groups, window, first, number * c);
        const int64_t step = one_run ? number : 1;
        for (int64_t k = 0; k < number; k += step)
            f(ItemsOfRun<T, true>{1}, window, ImagePlace{first.image, first.row, first.column + k}, step * c);
    };
    const Range mine = my_rows_of_images(pooled.extent[0], count, across * c, team);
    ImagePlace at{mine.begin / count, mine.begin % count, 0};
    for (int64_t i = mine.begin; i < mine.end; ++i, next_row(at, count)) {
        team.checkpoint();
        begin_row(at);
        PartOfWindow part{row_stride, column_stride, columns.size, {}, {}};
        part.rows = {rows.first_place(at.row), rows.end_place(at.row, h)};
        const auto visit_part = [&](int64_t number) {
            part.columns = {columns.first_place(at.column), columns.end_place(at.column, w)};
            if (how.contiguous) return visit(part, at, number);
            for (int64_t k = 0; k < number; ++k)
                f(ItemsOfRun<T, false>{image.stride[3]}, part, ImagePlace{at.image, at.row, at.column + k}, c);
        };
        for (; at.column < inner.begin; ++at.column) visit_part(1);
        const int64_t number = inner.end - inner.begin;
        const auto is_full = [&](int64_t size) {
            return how.contiguous && rows.size == size && columns.size == size &&
                   part.rows.end - part.rows.begin == size;
        };
        if (number > 0) {
            if (is_full(2))
                visit(FullWindow<2, 2>{row_stride, column_stride}, at, number);
            else if (is_full(3))
                visit(FullWindow<3, 3>{row_stride, column_stride}, at, number);
            else
                visit_part(number);
        }
        for (at.column = inner.end; at.column < across; ++at.column) visit_part(1);
    }
}

// ---- The items of a thread, each with the windows that contain it.

// each(f) calls f(i, k, position) for the windows in order: row i and column k count from the first window, and an item
// has the position in it. Numbers of windows known when compiled unroll the loops.
template <int kRows = 0, int kColumns = 0>
struct WindowsAround {
    ImagePlace item, first;
    int64_t rows, columns;
    int64_t position, up, left;  // the position in the first window, and how much smaller it is in the next ones

    template <class F>
    STEEPEST_HD void each(F&& f) const {
        if constexpr (kRows > 0) {
#pragma GCC unroll 4
            for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
                for (int k = 0; k < kColumns; ++k) f(i, k, static_cast<int>(position - i * up - k * left));
            }
        } else {
            for (int64_t i = 0; i < rows; ++i)
                for (int64_t k = 0; k < columns; ++k) f(i, k, static_cast<int>(position - i * up - k * left));
        }
    }

    template <int kOtherRows, int kOtherColumns>
    STEEPEST_HD WindowsAround<kOtherRows, kOtherColumns> of() const {
        return {item, first, rows, columns, position, up, left};
    }
};

// Calls f(items, windows around the first item, n) for this thread's runs of n items of the image. Windows that reach
// into the padding are `alike` the others, or no run contains items of both.
template <class T, class U, class V, class F>
STEEPEST_HD void for_my_items(const Windows& windows, const Arrangement& how, const TensorView<U>& image,
                              const TensorView<V>& pooled, bool alike, Team& team, F&& f) {
    const WindowAxis &rows = windows.rows, &columns = windows.columns;
    const int64_t h = image.extent[1], w = image.extent[2], c = image.extent[3];
    const int64_t count = pooled.extent[1], across = pooled.extent[2];

    // The items of one run have equally many windows, which move on with them. With a stride of 1 there are
    // w + 2 padding - size + 1 windows.
    Range run{columns.size - 1, w - columns.size + 1};
    if (alike) run = {run.begin - columns.padding, run.end + columns.padding < w ? run.end + columns.padding : w};
    if (!how.joined || columns.stride > 1 || run.empty()) run = {w, w};

    const auto visit = [&](const WindowsAround<>& around, int64_t n) {
        const auto has = [&](int i, int k) { return around.rows == i && around.columns == k; };
        if (!how.contiguous) return f(ItemsOfRun<T, false>{image.stride[3]}, around, c);
        const ItemsOfRun<T, true> items{1};
        if (has(1, 1)) return f(items, around.template of<1, 1>(), n);
        if (has(1, 2)) return f(items, around.template of<1, 2>(), n);
        if (has(2, 1)) return f(items, around.template of<2, 1>(), n);
        if (has(2, 2)) return f(items, around.template of<2, 2>(), n);
        if (has(3, 3)) return f(items, around.template of<3, 3>(), n);
        f(items, around, n);
    };
    const Range mine = my_rows_of_images(image.extent[0], h, w * c, team);
    ImagePlace at{mine.begin / h, mine.begin % h, 0};
    for (int64_t i = mine.begin; i < mine.end; ++i, next_row(at, h)) {
        team.checkpoint();
        WindowsAround<> around{at, at, 0, 0, 0, rows.stride * columns.size, columns.stride};
        around.first.row = rows.first_window(at.row);
        around.rows = rows.end_window(at.row, count) - around.first.row;
        const int64_t above = (at.row - rows.start(around.first.row)) * columns.size;
        for (int64_t number = 1; around.item.column < w; around.item.column += number) {
            const int64_t q = around.item.column;
            number = q == run.begin ? run.end - run.begin : 1;
            around.first.column = columns.first_window(q);
            around.columns = columns.end_window(q, across) - around.first.column;
            around.position = above + q - columns.start(around.first.column);
            visit(around, number * c);
        }
    }
}

// Writes zeros to those rows of the image that lie in windows of one row, and in none; the first row of windows takes
// what lies above it, the last one what lies below.
template <class T>
STEEPEST_HD void clear_rows_of(const Windows& windows, const TensorView<T>& image, const ImagePlace& at,
                               int64_t rows_of_windows) {
    const WindowAxis& rows = windows.rows;
    const int64_t h = image.extent[1], w = image.extent[2], c = image.extent[3];
    const int64_t end = at.row + 1 < rows_of_windows ? rows.start(at.row + 1) : h;
    for (int64_t r = at.row > 0 ? rows.start(at.row) : 0; r < end; ++r) {
        T* const row = image.data + offset_of(image, {at.image, r, 0});
        const bool joined = image.stride[3] == 1 && image.stride[2] == c;
        for (int64_t k = 0; k < (joined ? 1 : w); ++k)
            for_each_vector<T>(0, joined ? w * c : c, [&](int64_t j, int lanes) {
                store_items(Vec<T>(0), row + k * image.stride[2] + j * image.stride[3], image.stride[3], lanes);
            });
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
