#include "common/triangle.h"
#include "cpu/gemm_pack.h"
#include "cpu/gemm_plan.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// `items` rounded up, so that the memory behind that many items of 4 or 8 bytes begins with a cache line.
int64_t whole_lines(int64_t items) { return (items + 15) / 16 * 16; }

// Products of a few rows of a matrix z with a range of its rows, which is copied into panels: the products of the lower
// triangle of z @ z.T that one block needs.
template <class T>
class RowProducts {
  public:
    static constexpr int kRows = TileShape<T>::kRows, kCols = TileShape<T>::kCols;

    static int64_t panels_of(int64_t cols) { return (cols + kCols - 1) / kCols; }
    static int64_t scratch_items(const MatrixView<const T>& z, int64_t most_cols) {
        return whole_lines((panels_of(most_cols) * kCols + kRows) * z.cols + kPackedRowsEnd<T>);
    }

    RowProducts(const MatrixView<const T>& z, int64_t most_cols, T* scratch)
        : z_(z),
          packs_rows_(pays_to_pack_rows(z, most_cols)),
          panels_(scratch),
          packed_rows_(scratch + panels_of(most_cols) * kCols * z.cols) {}

    // Sets the columns of the product to rows begin .. begin + cols of z.
    void take_columns(int64_t begin, int64_t cols) {
        cols_ = cols;
        for_each_block_of_k(
            [&](int64_t k0, int64_t kn) { pack_panels(z_.transposed(), k0, kn, begin, cols, panels_ + k0 * width()); });
    }

    // Sets the rows of the product to rows begin .. begin + rows of z.
    void take_rows(int64_t begin, int rows) {
        rows_ = rows, begin_ = begin;
        if (!packs_rows_) return;
        for_each_block_of_k(
            [&](int64_t k0, int64_t kn) { pack_rows(z_, begin, rows, k0, kn, packed_rows_ + k0 * rows); });
    }

    int64_t panels() const { return panels_of(cols_); }
    int cols_of(int64_t panel) const {
        return static_cast<int>(cols_ - panel * kCols < kCols ? cols_ - panel * kCols : kCols);
    }

    // Item (i, j) of the panel's product is at to[i * kCols + j].
    void multiply(int64_t panel, double* to) const {
        alignas(64) T product[kRows * kCols];
        const int cols = cols_of(panel);
        for_each_block_of_k([&](int64_t k0, int64_t kn) {
            const T* const rows = packs_rows_ ? packed_rows_ + k0 * rows_ : &z_(begin_, k0);
            multiply_tile(rows_, cols, kn, rows, packs_rows_ ? 1 : z_.row_stride, packs_rows_ ? rows_ : z_.col_stride,
                          panels_ + k0 * width() + panel * kCols * kn, kCols, product, kCols, false);
            for (int i = 0; i < rows_; ++i) {
                const T* const from = product + i * kCols;
                double* const sum = to + i * kCols;
                if (k0 == 0)
                    for (int j = 0; j < cols; ++j) sum[j] = static_cast<double>(from[j]);
                else
                    for (int j = 0; j < cols; ++j) sum[j] += static_cast<double>(from[j]);
            }
        });
    }

  private:
    int64_t width() const { return panels() * kCols; }

    // Calls f for the blocks of columns of z; without columns there is one empty block.
    template <class F>
    STEEPEST_HD void for_each_block_of_k(F&& f) const {
        const int64_t blocks = blocks_of(z_.cols);
        for (int64_t b = 0; b < blocks; ++b) {
            const int64_t k0 = block_begin(z_.cols, b);
            f(k0, block_begin(z_.cols, b + 1) - k0);
        }
    }

    MatrixView<const T> z_;
    bool packs_rows_;
    T *panels_, *packed_rows_;
    int64_t cols_ = 0, begin_ = 0;
    int rows_ = 0;
};

// The number of samples down and across a block: small enough for several blocks for each thread, and for the panels to
// stay in the cache. An item is summed in the same order in blocks of any size.
template <class T>
int64_t edge_of(const ops::GradientGram<T>& op, int members) {
    constexpr int64_t kMost = 128, kPanelBytes = 1 << 20, kBlocks = 4;
    const int64_t n = op.x.rows, r = op.repeats();
    const int64_t sample_bytes = (op.x.cols + r * op.d.cols) * static_cast<int64_t>(sizeof(T));
    const auto is_too_large = [&](int64_t edge) {
        return triangle_items((n + edge - 1) / edge) < kBlocks * members || edge * sample_bytes > kPanelBytes;
    };
    int64_t edge = kMost;
    while (edge > 1 && edge * r > TileShape<T>::kCols && is_too_large(edge)) edge /= 2;
    return edge;
}

// A range of columns of out; the tiles of these columns on or below the diagonal are computed one after the other.
template <class T>
class GramBlock {
  public:
    using Products = RowProducts<T>;
    static constexpr int kRows = Products::kRows, kCols = Products::kCols;

    static int64_t factor_items(const ops::GradientGram<T>& op, int64_t edge) {
        return whole_lines(kRows * edge * op.repeats());
    }

    GramBlock(const ops::GradientGram<T>& op, int64_t edge, double* factors, T* scratch)
        : op_(op),
          repeats_(op.repeats()),
          inputs_(op.x, edge, scratch),
          grads_(op.d, edge * repeats_, scratch + Products::scratch_items(op.x, edge)),
          factors_(factors) {}

    // Sets the columns of the block to those of samples begin .. end.
    void take_columns(int64_t begin, int64_t end) {
        first_col_ = begin;
        inputs_.take_columns(begin, end - begin);
        grads_.take_columns(begin * repeats_, (end - begin) * repeats_);
        stride_ = (end - begin) * repeats_;
    }

    // Computes the rows of samples i0 .. i0 + samples, at most kRows.
    void finish_rows(int64_t i0, int samples) {
        inputs_.take_rows(i0, samples);
        for (int64_t panel = 0; panel < inputs_.panels() && first_col_ + panel * kCols < i0 + samples; ++panel)
            put_factors(panel, samples);
        // Rows of equal tiles: 15 are 8 + 7, not 14 + 1.
        const int64_t rows = samples * repeats_, tiles = (rows + kRows - 1) / kRows;
        for (int64_t t = 0; t < tiles; ++t) {
            const int64_t begin = rows * t / tiles, row = i0 * repeats_ + begin;
            const int count = static_cast<int>(rows * (t + 1) / tiles - begin);
            grads_.take_rows(row, count);
            for (int64_t panel = 0; panel < grads_.panels(); ++panel) {
                if (first_col_ * repeats_ + panel * kCols >= row + count) break;
                finish_tile(panel, row, count, begin);
            }
        }
    }

  private:
    // Stores the products of the inputs, repeated as often as the columns of out need them.
    void put_factors(int64_t panel, int samples) {
        alignas(64) double product[kRows * kCols];
        inputs_.multiply(panel, product);
        const int cols = inputs_.cols_of(panel);
        const double bias = op_.bias ? 1 : 0;
        for (int i = 0; i < samples; ++i) {
            const double* const from = product + i * kCols;
            double* const to = factors_ + i * stride_ + panel * kCols * repeats_;
            if (repeats_ == 1) {
                for (int j = 0; j < cols; ++j) to[j] = from[j] + bias;
                continue;
            }
            for (int64_t j = 0; j < cols; ++j)
                for (int64_t t = 0; t < repeats_; ++t) to[j * repeats_ + t] = from[j] + bias;
        }
    }

    // Computes rows row .. row + rows of out. The first of them is number `begin` of the rows of the current samples.
    void finish_tile(int64_t panel, int64_t row, int rows, int64_t begin) const {
        alignas(64) double tile[kRows * kCols];
        grads_.multiply(panel, tile);
        const MatrixView<double>& out = op_.out;
        const int64_t col = first_col_ * repeats_ + panel * kCols;
        const int cols = grads_.cols_of(panel);
        for (int i = 0; i < rows; ++i) {
            const int64_t below = row + i - col + 1;  // items on or below the diagonal
            const int count = static_cast<int>(below < 0 ? 0 : below < cols ? below : cols);
            const double* const factor = factors_ + (begin + i) / repeats_ * stride_ + panel * kCols;
            double* const item = tile + i * kCols;
            double* const to = out.row(row + i) + col * out.col_stride;
            for (int j = 0; j < count; ++j) item[j] *= factor[j];
            if (op_.accumulate)
                for (int j = 0; j < count; ++j) item[j] += to[j * out.col_stride];
            if (out.col_stride == 1)
                for (int j = 0; j < count; ++j) to[j] = item[j];
            else
                for (int j = 0; j < count; ++j) to[j * out.col_stride] = item[j];
        }
        // The mirror image above the diagonal is written while the tile is in the cache.
        for (int j = 0; j < cols; ++j) {
            const int64_t first = col + j + 1 - row;
            double* const to = out.row(col + j) + row * out.col_stride;
            for (int64_t i = first < 0 ? 0 : first; i < rows; ++i) to[i * out.col_stride] = tile[i * kCols + j];
        }
    }

    const ops::GradientGram<T>& op_;
    int64_t repeats_;
    Products inputs_, grads_;
    double* factors_;  // products of the inputs for the rows of the current samples, in float64
    int64_t first_col_ = 0, stride_ = 0;
};

}  // namespace

template <class T>
void run(const ops::GradientGram<T>& op, Team& team) {
    using Block = GramBlock<T>;
    const int64_t n = op.x.rows, edge = edge_of(op, team.size()), blocks = (n + edge - 1) / edge;
    const Range mine = team.split(triangle_items(blocks), 1);
    if (mine.empty()) return;
    const int64_t factors = Block::factor_items(op, edge);
    const int64_t panels =
        RowProducts<T>::scratch_items(op.x, edge) + RowProducts<T>::scratch_items(op.d, edge * op.repeats());
    auto* const scratch = static_cast<double*>(team.scratch(factors * sizeof(double) + panels * sizeof(T)));
    Block block(op, edge, scratch, reinterpret_cast<T*>(scratch + factors));
    int64_t packed = -1;
    for (int64_t item = mine.begin; item < mine.end; ++item) {
        // Columns are taken in order, starting with the last, so that their panels are made once.
        int64_t from_right, from_bottom;
        triangle_item(item, from_right, from_bottom);
        const int64_t across = blocks - 1 - from_right, down = blocks - 1 - from_bottom;
        const auto end_of = [=](int64_t b) { return (b + 1) * edge < n ? (b + 1) * edge : n; };
        if (across != packed) block.take_columns(across * edge, end_of(across));
        packed = across;
        const int64_t begin = down * edge, rows = end_of(down) - begin,
                      tiles = (rows + Block::kRows - 1) / Block::kRows;
        for (int64_t t = 0; t < tiles; ++t) {
            team.checkpoint();
            const int64_t i0 = rows * t / tiles;
            block.finish_rows(begin + i0, static_cast<int>(rows * (t + 1) / tiles - i0));
        }
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(GradientGram)
