#include <cmath>

#include "common/triangle.h"
#include "cpu/gemm_tile.h"
#include "cpu/rows.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

using Chunks = ops::ClassScatterChunks;
constexpr int64_t kRows = Chunks::kRows;

// The destination of sums: those of one chunk, or the results themselves.
struct Sums {
    VectorView<double> weights;
    MatrixView<double> sums, scatter;
};

// A block of samples minus the centres of their classes, times the square roots of their weights. It is stored in
// panels of TileShape::kCols columns, padded with zeros: item (i, j) of panel p is at (p kRows + i) kCols + j.
template <class T>
class CentredBlock {
  public:
    using V = Vec<T>;
    static constexpr int kCols = TileShape<T>::kCols;

    static int64_t panels_of(int64_t d) { return (d + kCols - 1) / kCols; }
    static int64_t scratch_items(int64_t d) { return panels_of(d) * kCols * (kRows + 2); }

    CentredBlock(const ops::ClassScatter<T>& op, T* scratch)
        : op_(op),
          weights_{op.sample_weight, op.labels, false, 0},
          d_(op.x.cols),
          panels_(panels_of(d_)),
          data_(scratch),
          row_(scratch + panels_ * kCols * kRows) {}

    // Fills the block with rows begin .. begin + n, and adds their columns j0 .. j1 to the sums of their classes. The
    // columns are whole vectors, except for the last.
    STEEPEST_HD void fill(int64_t begin, int64_t n, int64_t j0, int64_t j1, bool counts, const Sums& to) {
        rows_ = n;
        for (int64_t i = 0; i < n; ++i) {
            const int64_t r = begin + i, c = weights_.label_of(r);
            const double weight = weights_.weight_of(r, c);
            // A sample of weight 0 may hold NaN.
            if (weight == 0) {
                for (int64_t p = 0; p < panels_; ++p)
                    for (int j = 0; j < kCols; j += V::kSize) V(0).store(panel_row(p, i) + j);
                continue;
            }
            if (counts) to.weights[c] += weight;
            const T* const x = contiguous_row(op_.x, r, row_);
            const T* const centre = contiguous_row(op_.centre, c, row_ + d_);
            const V root(weight == 1 ? T(1) : static_cast<T>(std::sqrt(weight)));
            double* const sums = &to.sums(c, 0);
            for (int64_t p = 0; p < panels_; ++p)
                for (int j = 0; j < kCols; j += V::kSize) {
                    const int64_t col = p * kCols + j, left = d_ - col;
                    const int lanes = left >= V::kSize ? V::kSize : left > 0 ? static_cast<int>(left) : 0;
                    const V deviation = lanes == V::kSize ? V::load(x + col) - V::load(centre + col)
                                                          : V::load(x + col, lanes) - V::load(centre + col, lanes);
                    (root * deviation).store(panel_row(p, i) + j);
                    if (col < j0 || col >= j1) continue;
                    if (lanes == V::kSize) {
                        add_wide(deviation, sums + col, weight);
                    } else {
                        T item[V::kSize];
                        deviation.store(item);
                        for (int l = 0; l < lanes; ++l) sums[col + l] += weight * static_cast<double>(item[l]);
                    }
                }
        }
    }

    // Adds the products of panels `down` and `across` <= down to the scatter, on and below its diagonal.
    STEEPEST_HD void multiply(int64_t down, int64_t across, const MatrixView<double>& scatter) const {
        constexpr int kTall = TileShape<T>::kRows, kTiles = (kCols + kTall - 1) / kTall;
        alignas(64) T product[kTall * kCols];
        const int64_t j0 = across * kCols;
        for (int t = 0; t < kTiles; ++t) {
            const int begin = kCols * t / kTiles, rows = kCols * (t + 1) / kTiles - begin;
            const int64_t i0 = down * kCols + begin;
            if (i0 >= d_) return;
            multiply_tile(rows, kCols, rows_, panel_row(down, 0) + begin, 1, kCols, panel_row(across, 0), kCols,
                          product, kCols, false);
            for (int64_t i = i0; i < i0 + rows && i < d_; ++i) {
                const int64_t j1 = i + 1 < j0 + kCols ? i + 1 : j0 + kCols;
                const T* const from = product + (i - i0) * kCols;
                double* const to = &scatter(i, j0);
                const int64_t cols = j1 - j0;
                if (scatter.col_stride == 1)
                    for (int64_t j = 0; j < cols; ++j) to[j] += static_cast<double>(from[j]);
                else
                    for (int64_t j = 0; j < cols; ++j) to[j * scatter.col_stride] += static_cast<double>(from[j]);
            }
        }
    }

    int64_t panels() const { return panels_; }

  private:
    STEEPEST_HD T* panel_row(int64_t p, int64_t i) const { return data_ + (p * kRows + i) * kCols; }

    const ops::ClassScatter<T>& op_;
    RowWeights<T> weights_;
    int64_t d_, panels_, rows_ = 0;
    T *data_, *row_;  // the panels; copies of a row and a centre whose columns are strided
};

void clear(const VectorView<double>& v) {
    for (int64_t i = 0; i < v.size; ++i) v[i] = 0;
}

// Each chunk has its own sums, which are added in the order of the chunks.
template <class T>
void run_chunks(const ops::ClassScatter<T>& op, const Chunks& chunks, Team& team) {
    const int64_t d = op.x.cols, k = op.centre.rows, items = chunks.items();
    const auto sums_of = [&](int64_t chunk) {
        double* const at = op.workspace.data + chunk * items;
        return Sums{{at + d * d + k * d, k, 1}, {at + d * d, k, d, d, 1}, {at, d, d, d, 1}};
    };
    CentredBlock<T> block(op, static_cast<T*>(team.scratch(CentredBlock<T>::scratch_items(d) * sizeof(T))));
    const Range mine = team.split(chunks.count, 1);
    for (int64_t chunk = mine.begin; chunk < mine.end; ++chunk) {
        clear({op.workspace.data + chunk * items, items, 1});
        const Sums to = sums_of(chunk);
        const int64_t end = chunks.begin(chunk + 1);
        for (int64_t begin = chunks.begin(chunk); begin < end; begin += kRows) {
            block.fill(begin, end - begin < kRows ? end - begin : kRows, 0, d, true, to);
            team.checkpoint();
            for (int64_t down = 0; down < block.panels(); ++down)
                for (int64_t across = 0; across <= down; ++across) block.multiply(down, across, to.scatter);
        }
    }
    team.barrier();  // the sums of all chunks are written
    const auto total = [&](double& out, auto&& item_of) {
        double sum = op.accumulate ? out : 0;
        for (int64_t chunk = 0; chunk < chunks.count; ++chunk) sum += item_of(sums_of(chunk));
        out = sum;
    };
    const Range rows = team.split(d, 1);
    for (int64_t i = rows.begin; i < rows.end; ++i)
        for (int64_t j = 0; j <= i; ++j) {
            total(op.scatter(i, j), [=](const Sums& s) { return s.scatter(i, j); });
            op.scatter(j, i) = op.scatter(i, j);
        }
    const Range classes = team.split(k, 1);
    for (int64_t c = classes.begin; c < classes.end; ++c) {
        total(op.weights[c], [=](const Sums& s) { return s.weights[c]; });
        for (int64_t j = 0; j < d; ++j) total(op.sums(c, j), [=](const Sums& s) { return s.sums(c, j); });
    }
}

// Every thread centres all rows, but adds up only its own columns of the sums and its own panels of the scatter.
template <class T>
void run_panels(const ops::ClassScatter<T>& op, Team& team) {
    const int64_t n = op.x.rows, d = op.x.cols, k = op.centre.rows;
    CentredBlock<T> block(op, static_cast<T*>(team.scratch(CentredBlock<T>::scratch_items(d) * sizeof(T))));
    const Range pairs = team.split(triangle_items(block.panels()), 1), cols = team.split(d, Vec<T>::kSize);
    const bool counts = team.rank() == 0;
    const MatrixView<double> sums{op.workspace.data, k, d, d, 1};
    const Sums to{op.weights, sums, op.scatter};
    if (counts && !op.accumulate) clear(op.weights);
    for (int64_t c = 0; c < k; ++c)
        for (int64_t j = cols.begin; j < cols.end; ++j) sums(c, j) = 0;
    if (!op.accumulate) {
        for (int64_t i = cols.begin; i < cols.end; ++i)
            for (int64_t j = 0; j < d; ++j) op.scatter(i, j) = 0;
        team.barrier();  // the panels of a thread lie in rows that other threads have cleared
    }
    for (int64_t begin = 0; begin < n; begin += kRows) {
        block.fill(begin, n - begin < kRows ? n - begin : kRows, cols.begin, cols.end, counts, to);
        for (int64_t pair = pairs.begin; pair < pairs.end; ++pair) {
            team.checkpoint();
            int64_t down, across;
            triangle_item(pair, down, across);
            block.multiply(down, across, to.scatter);
        }
    }
    for (int64_t c = 0; c < k; ++c)
        for (int64_t j = cols.begin; j < cols.end; ++j)
            op.sums(c, j) = (op.accumulate ? op.sums(c, j) : 0) + sums(c, j);
    team.barrier();  // the lower triangle is complete
    for (int64_t i = cols.begin; i < cols.end; ++i)
        for (int64_t j = 0; j < i; ++j) op.scatter(j, i) = op.scatter(i, j);
}

}  // namespace

template <class T>
void run(const ops::ClassScatter<T>& op, Team& team) {
    const RowWeights<T> rows{op.sample_weight, op.labels, false, 0};
    if (op.labels && !check_labels(rows, op.centre.rows, number_of(op), team)) return;
    const Chunks chunks(op.x.rows, op.x.cols, op.centre.rows);
    if (chunks.count > 1)
        run_chunks(op, chunks, team);
    else
        run_panels(op, team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(ClassScatter)
