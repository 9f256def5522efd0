// What the kernels of normalisation share: blocks of rows as contiguous items, and sums down the columns of a block.
#pragma once

#include "common/normalization.h"
#include "cpu/pieces.h"
#include "cpu/rows.h"
#include "cpu/tensor_rows.h"
#include "cpu/wide_sum.h"
#include "ops/normalize.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Rows whose items stay in the first-level cache while they are read twice; a multiple of 4.
inline int block_rows(int64_t channels) {
    constexpr int64_t kItems = 8192, kLeastRows = 8, kMostRows = 64;
    const int64_t rows = kItems / (channels + 1) / 4 * 4;
    return static_cast<int>(rows < kLeastRows ? kLeastRows : rows > kMostRows ? kMostRows : rows);
}

// Contiguous items of a vector: in place, or in `buffer`, which an absent vector fills with `rest`.
template <class T>
const T* contiguous_items(const VectorView<const T>& v, int64_t n, T rest, T* buffer) {
    if (v && v.stride == 1) return v.data;
    for (int64_t j = 0; j < n; ++j) buffer[j] = v ? v[j] : rest;
    return buffer;
}

// Neighbouring rows of some arrays: addresses of the first row, and the steps to the next.
template <class T>
struct RowBlock {
    int64_t first;  // number of the first row
    int rows;
    const T *x, *v;
    T* out;
    int64_t x_step, v_step, out_step;
};

// Walks along rows in blocks. Rows whose items are strided are copied into a buffer, and out of it after the block.
template <class T>
class RowBlocks {
  public:
    // Views of one shape, of which v and out may be absent.
    RowBlocks(const TensorView<const T>& x, const TensorView<const T>& v, const TensorView<T>& out)
        : x_(x), v_(v), out_(out), last_(x.axes - 1), channels_(x.extent[last_]), most_(block_rows(channels_)) {
        for (int d = 0; d < last_; ++d) axes_.add(d, x, v, out);
    }

    int64_t buffer_items() const { return (is_strided(x_) + is_strided(v_) + is_strided(out_)) * most_ * channels_; }
    void set_buffer(T* buffer) { buffer_ = buffer; }

    // Calls f(block) for some of the rows. With `writes`, f fills the rows of `out`.
    template <class F>
    STEEPEST_HD void for_each(Range rows, bool writes, F&& f) const {
        if (rows.empty()) return;
        const int64_t run = axes_.extent[last_ - 1];  // rows that are equally far apart
        Place<3> place(axes_);
        RowBlock<T> block;
        for (int64_t i = rows.begin; i < rows.end; i += block.rows) {
            const int64_t left = rows.end - i, in_run = run - i % run, most = left < in_run ? left : in_run;
            block.first = i, block.rows = static_cast<int>(most < most_ ? most : most_);
            place.seek(i);
            T* buffer = buffer_;
            const auto gather = [&](const TensorView<const T>& from, int64_t offset, const T*& items, int64_t& step) {
                items = from.data + offset, step = from.stride[last_ - 1];
                if (!is_strided(from)) return;
                for (int64_t r = 0; r < block.rows; ++r)
                    for (int64_t j = 0; j < channels_; ++j)
                        buffer[r * channels_ + j] = items[r * step + j * from.stride[last_]];
                items = buffer, step = channels_, buffer += block.rows * channels_;
            };
            gather(x_, place.offset(0), block.x, block.x_step);
            if (v_) gather(v_, place.offset(1), block.v, block.v_step);
            T* const at = writes ? out_.data + place.offset(2) : nullptr;
            block.out = at, block.out_step = out_.stride[last_ - 1];
            const bool copies = writes && is_strided(out_);
            if (copies) block.out = buffer, block.out_step = channels_;
            f(block);
            if (!copies) continue;
            for (int64_t r = 0; r < block.rows; ++r)
                for (int64_t j = 0; j < channels_; ++j)
                    at[r * out_.stride[last_ - 1] + j * out_.stride[last_]] = buffer[r * channels_ + j];
        }
    }

  private:
    template <class View>
    bool is_strided(const View& view) const {
        return view && view.stride[last_] != 1;
    }

    TensorView<const T> x_, v_;
    TensorView<T> out_;
    int last_;
    CommonAxes<3> axes_;
    int64_t channels_, most_;
    T* buffer_ = nullptr;
};

// Calls f(vectors, j, lanes) for strips of columns: of two whole vectors, which are neighbouring lines of the cache, and
// at the end of one.
template <int N>
struct Vectors {
    static constexpr int kCount = N;
};

template <class T, class F>
STEEPEST_HD void for_each_strip(int64_t channels, F&& f) {
    constexpr int kSize = Vec<T>::kSize;
    int64_t j = 0;
    for (; j + 2 * kSize <= channels; j += 2 * kSize) f(Vectors<2>(), j, kSize);
    for_each_vector<T>(j, channels, [&](int64_t k, int lanes) { f(Vectors<1>(), k, lanes); });
}

// Sums of a strip's columns, of items and of products.
template <class T, int N>
struct StripSums {
    Vec<T> sum[N], product[N];

    STEEPEST_HD StripSums() {
        for (int u = 0; u < N; ++u) sum[u] = product[u] = Vec<T>(0);
    }
    STEEPEST_HD StripSums operator+(const StripSums& other) const {
        StripSums both;
        for (int u = 0; u < N; ++u)
            both.sum[u] = sum[u] + other.sum[u], both.product[u] = product[u] + other.product[u];
        return both;
    }
};

// Adds up the rows of a block by add(sums, u, r) for each vector u, in two sums whose chains of operations overlap.
template <class T, int N, class Add>
STEEPEST_HD StripSums<T, N> sum_over_rows(int64_t rows, Add&& add) {
    StripSums<T, N> even, odd;
    int64_t r = 0;
    for (; r + 2 <= rows; r += 2)
        for (int u = 0; u < N; ++u) add(even, u, r), add(odd, u, r + 1);
    for (int u = 0; r < rows && u < N; ++u) add(even, u, r);
    return even + odd;
}

// Merges the rows of a block into the moments of its columns, of which there were `count` rows before.
template <class T>
struct ColumnMoments {
    double *mean, *squares;

    STEEPEST_HD void add(const RowBlock<T>& block, double count, int64_t channels) const {
        const double rows = block.rows, share = rows / (count + rows), per_row = 1 / rows;
        for_each_strip<T>(channels, [&, this]<int N>(Vectors<N>, int64_t j, int lanes) {
            using V = Vec<T>;
            using Sums = StripSums<T, N>;
            const auto load = [&](int u, int64_t r) {
                return load_items(block.x + r * block.x_step + j + u * V::kSize, 1, lanes);
            };
            const Sums all = sum_over_rows<T, N>(
                block.rows, [&](Sums& to, int u, int64_t r) { to.sum[u] = to.sum[u] + load(u, r); });
            V centre[N];
            for (int u = 0; u < N; ++u) centre[u] = V(per_row) * all.sum[u];
            // The mean's rounding error is the mean of the deviations from it.
            const Sums own = sum_over_rows<T, N>(block.rows, [&](Sums& to, int u, int64_t r) {
                const V d = load(u, r) - centre[u];
                to.sum[u] = to.sum[u] + d, to.product[u] = fma(d, d, to.product[u]);
            });
            for (int u = 0; u < N; ++u) {
                alignas(64) T item[3][V::kSize];
                centre[u].store(item[0]), own.sum[u].store(item[1]), own.product[u].store(item[2]);
                double *const to_mean = mean + j + u * V::kSize, *const to_squares = squares + j + u * V::kSize;
                for (int l = 0; l < lanes; ++l) {
                    const double off = static_cast<double>(item[1][l]);
                    const double delta = static_cast<double>(item[0][l]) + off * per_row - to_mean[l];
                    const double within = static_cast<double>(item[2][l]) - off * off * per_row;
                    to_mean[l] += delta * share;
                    to_squares[l] += (within < 0 ? 0 : within) + delta * delta * count * share;
                }
            }
        });
    }
};

// Adds a block's sums of v and of v (x - mean) down its columns.
template <class T>
STEEPEST_HD void add_products(const RowBlock<T>& block, const T* mean, int64_t channels, double* sums,
                              double* products) {
    for_each_strip<T>(channels, [&]<int N>(Vectors<N>, int64_t j, int lanes) {
        using V = Vec<T>;
        using Sums = StripSums<T, N>;
        V centre[N];
        for (int u = 0; u < N; ++u) centre[u] = load_items(mean + j + u * V::kSize, 1, lanes);
        const Sums own = sum_over_rows<T, N>(block.rows, [&](Sums& to, int u, int64_t r) {
            const int64_t at = j + u * V::kSize;
            const V v = load_items(block.v + r * block.v_step + at, 1, lanes);
            const V d = load_items(block.x + r * block.x_step + at, 1, lanes) - centre[u];
            to.sum[u] = to.sum[u] + v, to.product[u] = fma(v, d, to.product[u]);
        });
        for (int u = 0; u < N; ++u) {
            add_to(sums + j + u * V::kSize, own.sum[u], lanes);
            add_to(products + j + u * V::kSize, own.product[u], lanes);
        }
    });
}

// d_weight and d_bias: the sums of `count` parts in their order. `factor(part, channel)` scales the products.
template <class T, class Factor>
void put_channel_sums(const ops::NormalizeBackward<T>& op, int64_t count, const Team& team, Factor&& factor) {
    const int64_t channels = op.shape.channels;
    const Range mine = team.split(channels, 64);
    for (int64_t j = mine.begin; j < mine.end; ++j) {
        double weight = op.accumulate && op.d_weight ? static_cast<double>(op.d_weight[j]) : 0;
        double bias = op.accumulate && op.d_bias ? static_cast<double>(op.d_bias[j]) : 0;
        for (int64_t part = 0; part < count; ++part) {
            const double* const sums = op.workspace.data + part * 2 * channels;
            bias += sums[j], weight += sums[channels + j] * factor(part, j);
        }
        if (op.d_weight) op.d_weight[j] = static_cast<T>(weight);
        if (op.d_bias) op.d_bias[j] = static_cast<T>(bias);
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
