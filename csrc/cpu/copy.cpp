#include "ops/copy.h"

#include <cstring>
#include <type_traits>

#include "cpu/run.h"
#include "cpu/tensor_rows.h"
#include "cpu/vector_runs.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kStridedBlock = 2048;  // words of a strided row that are copied before those of the next
constexpr int64_t kFewColumns = 8;       // words beside one another in x that do not fill vectors

// Words on either side of a tile: two lines of the caches, each of which is used to its end.
template <class W>
constexpr int64_t kTile = 128 / sizeof(W);

template <class W>
STEEPEST_HD void copy_row(const W* x, int64_t x_stride, W* out, int64_t out_stride, int64_t n, bool past_caches) {
    if (x_stride != 1 || out_stride != 1) {
        for (int64_t j = 0; j < n; ++j) out[j * out_stride] = x[j * x_stride];
        return;
    }
    if constexpr (std::is_floating_point_v<W>)
        write_vectors(out, n, past_caches, [=](int64_t j, int lanes) { return load_items(x + j, 1, lanes); });
    else
        std::memcpy(out, x, static_cast<size_t>(n) * sizeof(W));
}

template <class W>
void copy_rows(const TensorView<const W>& x, const TensorView<W>& out, const Team& team) {
    const int last = out.axes - 1;
    CommonAxes<2> axes;
    for (int d = 0; d < last; ++d) axes.add(d, x, out);
    const int64_t n = out.extent[last], x_stride = x.stride[last], out_stride = out.stride[last];
    const bool past_caches = pays_to_stream<W>(axes.places(), n, false);
    // Strided items are met again where those between them belong to the next rows.
    const int64_t block = x_stride == 1 && out_stride == 1 ? n : kStridedBlock;
    for_my_rows(axes, n, kRunGrain, block, team, [&](const Place<2>& place, Range items) {
        copy_row(x.data + place.offset(0) + items.begin * x_stride, x_stride,
                 out.data + place.offset(1) + items.begin * out_stride, out_stride, items.end - items.begin,
                 past_caches);
    });
}

// A matrix to be copied: the words of a column lie beside one another in x, those of a row in out.
struct Transposition {
    int64_t rows, cols;
    int64_t x_row_stride, x_col_stride, out_row_stride, out_col_stride;
};

// out = the transpose of a square of vectors in x, or of the part of it that is there.
template <class W>
STEEPEST_HD void transpose_square(const W* x, int64_t x_stride, W* out, int64_t out_stride, int rows, int cols) {
    using V = Vec<W>;
    V square[V::kSize];
    if (rows == V::kSize && cols == V::kSize) {
        for (int c = 0; c < V::kSize; ++c) square[c] = V::load(x + c * x_stride);
        transpose(square);
        for (int r = 0; r < V::kSize; ++r) square[r].store(out + r * out_stride);
        return;
    }
    for (int c = 0; c < V::kSize; ++c) square[c] = c < cols ? V::load(x + c * x_stride, rows) : V(0);
    transpose(square);
    for (int r = 0; r < rows; ++r) square[r].store(out + r * out_stride, cols);
}

template <class W>
STEEPEST_HD void copy_tile(const Transposition& m, const W* x, W* out, int64_t rows, int64_t cols) {
    if constexpr (std::is_floating_point_v<W>)
        if (m.x_row_stride == 1 && m.out_col_stride == 1) {
            for_each_vector<W>(0, cols, [&](int64_t j, int lanes_of_cols) {
                for_each_vector<W>(0, rows, [&](int64_t i, int lanes_of_rows) {
                    transpose_square(x + i + j * m.x_col_stride, m.x_col_stride, out + i * m.out_row_stride + j,
                                     m.out_row_stride, lanes_of_rows, lanes_of_cols);
                });
            });
            return;
        }
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < cols; ++j)
            out[i * m.out_row_stride + j * m.out_col_stride] = x[i * m.x_row_stride + j * m.x_col_stride];
}

template <class W>
void copy_tiles(const TensorView<const W>& x, const TensorView<W>& out, int column_axis, const Team& team) {
    constexpr int64_t kGrain = 4;  // tiles for a member
    const int last = out.axes - 1;
    CommonAxes<2> axes;
    for (int d = 0; d < last; ++d)
        if (d != column_axis) axes.add(d, x, out);
    const Transposition m{out.extent[column_axis], out.extent[last],        x.stride[column_axis],
                          x.stride[last],          out.stride[column_axis], out.stride[last]};
    const int64_t tiles_down = (m.rows + kTile<W> - 1) / kTile<W>, tiles_across = (m.cols + kTile<W> - 1) / kTile<W>;
    const int64_t tiles = tiles_down * tiles_across;
    const Range mine = team.split(axes.places() * tiles, kGrain);
    if (mine.empty()) return;
    Place<2> place(axes);
    place.seek(mine.begin / tiles);
    int64_t tile = mine.begin % tiles;
    for (int64_t number = mine.begin; number < mine.end; ++number) {
        const int64_t i = tile / tiles_across * kTile<W>, j = tile % tiles_across * kTile<W>;
        copy_tile(m, x.data + place.offset(0) + i * m.x_row_stride + j * m.x_col_stride,
                  out.data + place.offset(1) + i * m.out_row_stride + j * m.out_col_stride,
                  m.rows - i < kTile<W> ? m.rows - i : kTile<W>, m.cols - j < kTile<W> ? m.cols - j : kTile<W>);
        if (++tile == tiles) tile = 0, place.next();
    }
}

template <class W>
void copy_words(const ops::Copy& op, const Team& team) {
    const auto x = ops::in_words<const W>(op.x);
    const auto out = ops::in_words<W>(op.out);
    const int last = out.axes - 1, closest = ops::closest_axis(x);
    if (closest == last || out.extent[closest] < kFewColumns)
        copy_rows(x, out, team);
    else
        copy_tiles(x, out, closest, team);
}

}  // namespace

void run(const ops::Copy& op, Team& team) {
    if (op.x.data == op.out.data) return;  // its own items
    const auto lies_in_words = [&](int64_t bytes) { return is_in_words(op.x, bytes) && is_in_words(op.out, bytes); };
    // Words of 4 and 8 bytes move in vectors, which are made of floating-point numbers: their bits stay as they are.
    if (lies_in_words(8)) return copy_words<double>(op, team);
    if (lies_in_words(4)) return copy_words<float>(op, team);
    if (lies_in_words(2)) return copy_words<uint16_t>(op, team);
    copy_words<uint8_t>(op, team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
