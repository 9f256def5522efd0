#include "cpu/gemm_pack.h"
#include "cpu/gemm_plan.h"
#include "cpu/rows.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// The lower triangle, divided into tiles of rows and groups of columns. With `ones` there is a last row, which has its
// own tile; its last item is no sum.
template <class T>
struct Tiling {
    static constexpr int kRows = TileShape<T>::kRows, kCols = TileShape<T>::kCols, kSize = Vec<T>::kSize;

    int64_t cols, panels, groups, tiles, full_tiles;

    Tiling(int64_t d, bool ones)
        : cols(d),
          panels((d + kCols - 1) / kCols),
          groups((d + kBlockN - 1) / kBlockN),
          tiles((d + kRows - 1) / kRows + (ones ? 1 : 0)),
          full_tiles((d + kRows - 1) / kRows) {}

    // Tiles of equal height: 32 rows are 11 + 11 + 10, not 14 + 14 + 4.
    int64_t first_row(int64_t tile) const {
        return tile < full_tiles ? cols * tile / full_tiles : cols + tile - full_tiles;
    }
    int64_t end_row(int64_t tile) const { return first_row(tile + 1); }

    int64_t first_col(int64_t group) const {
        const int64_t col = panels * group / groups * kCols;
        return col < cols ? col : cols;
    }
    // The end of the columns of a group that a tile needs; it lies before their beginning if the tile needs none.
    int64_t end_col(int64_t group, int64_t tile) const {
        const int64_t all = first_col(group + 1), row = end_row(tile);
        return all < row ? all : row;
    }
    // The number of vectors of columns, which measures the work of a tile.
    int64_t vectors(int64_t group, int64_t tile) const {
        const int64_t n = end_col(group, tile) - first_col(group);
        return n > 0 ? (n + kSize - 1) / kSize : 0;
    }
};

// The work of a thread: products of tiles with groups of columns, and the addition to out.
template <class T>
class TriangleProduct {
  public:
    using V = Vec<T>;
    static constexpr int kRows = TileShape<T>::kRows, kCols = TileShape<T>::kCols;
    static constexpr int kSquares = (kRows + V::kSize - 1) / V::kSize;  // squares of kSize rows down a tile
    static constexpr int64_t kPackedRows = kRows * kBlockK + kPackedRowsEnd<T>;
    static constexpr size_t kScratchItems = kPackedRows + kBlockK * kBlockN + kBlockK;

    TriangleProduct(const ops::SecondMoment<T>& op, const Tiling<T>& tiling, T* scratch)
        : tiling_(tiling),
          x_(op.x),
          weights_{op.sample_weight, {}, false, 0},
          // out is symmetric, so its transpose has the same items.
          out_(op.out.row_stride == 1 ? op.out.transposed() : op.out),
          // Rows that are weighted are copied.
          packs_rows_(op.sample_weight || pays_to_pack_rows(x_.transposed(), x_.cols)),
          packs_panels_(op.sample_weight || pays_to_pack_panels(x_, x_.cols)),
          total_(weights_.sum(x_.rows)),
          decay_(static_cast<T>(op.decay.get())),
          factor_(static_cast<T>(op.sample_weight ? op.scale : op.scale / total_)),
          mean_one_(static_cast<T>(total_ != 0 ? op.scale : 0)),
          packed_rows_(scratch),
          panels_(packed_rows_ + kPackedRows),
          shares_(panels_ + kBlockK * kBlockN) {}

    // Multiplies tiles begin .. end of rows with the columns of a group, on and below the diagonal.
    void run(int64_t group, int64_t begin, int64_t end, Team& team) {
        const int64_t col = tiling_.first_col(group), cols = tiling_.end_col(group, end - 1) - col;
        const int64_t blocks = blocks_of(x_.rows);
        for (int64_t block = 0; block < blocks; ++block) {
            k0_ = block_begin(x_.rows, block), kn_ = block_begin(x_.rows, block + 1) - k0_;
            is_first_ = block == 0, is_last_ = block + 1 == blocks;
            put_shares();
            put_panels(col, cols);
            for (int64_t tile = begin; tile < end; ++tile) {
                team.checkpoint();
                multiply(tiling_.first_row(tile), tiling_.end_row(tile), col, tiling_.end_col(group, tile));
            }
        }
    }

    // Writes the last item of out: the mean of the products of the ones.
    void put_corner() const {
        T& item = out_(x_.cols, x_.cols);
        item = decay_ == 0 ? mean_one_ : decay_ * item + mean_one_;
    }

  private:
    // Stores the normalised weights of the rows of this block: each weight over the sum of all weights.
    void put_shares() {
        for (int64_t p = 0; p < kn_; ++p)
            shares_[p] = !weights_.weight ? T(1) : total_ != 0 ? static_cast<T>(weights_[k0_ + p] / total_) : T(0);
    }

    void put_panels(int64_t col, int64_t cols) {
        if (!packs_panels_) return;
        pack_panels(x_, k0_, kn_, col, cols, panels_);
        if (!weights_.weight) return;
        // A row of weight 0 may hold NaN.
        for (int64_t p = 0; p < kn_; ++p) {
            if (shares_[p] != 0) continue;
            for (int64_t j = 0; j < cols; j += kCols)
                for (int l = 0; l < kCols; l += V::kSize) V(0).store(panels_ + (j * kn_ + p * kCols) + l);
        }
    }

    void put_rows(int64_t row, int rows) {
        if (!weights_.weight) return pack_rows(x_.transposed(), row, rows, k0_, kn_, packed_rows_);
        for (int64_t p = 0; p < kn_; ++p)
            for_each_vector<T>(0, rows, [&](int64_t i, int lanes) {
                const V items = load_items(&x_(k0_ + p, row + i), x_.col_stride, lanes);
                (shares_[p] != 0 ? V(shares_[p]) * items : V(0)).store(packed_rows_ + p * rows + i, lanes);
            });
    }

    // Computes columns col .. end of rows row .. end_row.
    void multiply(int64_t row, int64_t end_row, int64_t col, int64_t end) {
        const int rows = static_cast<int>(end_row - row);
        const T* left = x_.data + row * x_.col_stride + k0_ * x_.row_stride;
        int64_t left_row = x_.col_stride, left_k = x_.row_stride;
        if (row == x_.cols) {
            left = shares_, left_k = 1;
        } else if (packs_rows_) {
            put_rows(row, rows);
            left = packed_rows_, left_row = 1, left_k = rows;
        }
        alignas(64) T tile[kSquares * V::kSize * kCols];
        for (int64_t j = col; j < end; j += kCols) {
            const int needed = static_cast<int>(end - j < kCols ? end - j : kCols);
            // Whole vectors are faster than parts. Panels are padded with zeros; a row of x is read in place, up to its
            // end.
            const int whole = (needed + V::kSize - 1) / V::kSize * V::kSize;
            const int cols = packs_panels_ || j + whole <= x_.cols ? whole : static_cast<int>(x_.cols - j);
            const T* const right = packs_panels_ ? panels_ + (j - col) * kn_ : &x_(k0_, j);
            multiply_tile(rows, cols, kn_, left, left_row, left_k, right, packs_panels_ ? kCols : x_.row_stride, tile,
                          kCols, false);
            add(tile, row, rows, j, needed);
        }
    }

    // Adds the tile to the items on and below the diagonal. After the last block, it also writes the mirror image while
    // the tile is in the cache.
    void add(T* tile, int64_t row, int rows, int64_t col, int cols) const {
        const T kept = is_first_ ? decay_ : T(1);
        const int64_t stride = out_.col_stride;
        for (int i = 0; i < rows; ++i) {
            const int64_t below = row + i - col + 1;  // items on or below the diagonal
            const int count = static_cast<int>(below < 0 ? 0 : below < cols ? below : cols);
            T* const to = out_.row(row + i) + col * stride;
            for_each_vector<T>(0, count, [&](int64_t j, int lanes) {
                V item = V(factor_) * V::load(tile + i * kCols + j);
                if (kept != 0) item = fma(V(kept), load_items(to + j * stride, stride, lanes), item);
                store_items(item, to + j * stride, stride, lanes);
                item.store(tile + i * kCols + j);
            });
        }
        if (is_last_)
            for (int j = 0; j < cols; j += V::kSize)
                put_mirrored(tile + j, row, rows, col + j, cols - j < V::kSize ? cols - j : V::kSize);
    }

    // Writes the mirror image of at most a vector of columns.
    void put_mirrored(const T* tile, int64_t row, int rows, int64_t col, int cols) const {
        const int64_t stride = out_.col_stride;
        if (stride != 1 || col + cols > row) {
            for (int j = 0; j < cols; ++j) {
                const int64_t first = col + j + 1 - row;
                T* const to = out_.row(col + j) + row * stride;
                for (int64_t i = first < 0 ? 0 : first; i < rows; ++i) to[i * stride] = tile[i * kCols + j];
            }
            return;
        }
        for (int i = 0; i < rows; i += V::kSize) {
            const int lanes = rows - i < V::kSize ? rows - i : V::kSize;
            V square[V::kSize];
            for (int l = 0; l < V::kSize; ++l) square[l] = l < lanes ? V::load(tile + (i + l) * kCols) : V(0);
            transpose(square);
            for (int l = 0; l < cols; ++l) square[l].store(out_.row(col + l) + row + i, lanes);
        }
    }

    const Tiling<T>& tiling_;
    MatrixView<const T> x_;
    RowWeights<T> weights_;
    MatrixView<T> out_;
    bool packs_rows_, packs_panels_;
    double total_;
    T decay_, factor_, mean_one_;
    T *packed_rows_, *panels_, *shares_;
    int64_t k0_ = 0, kn_ = 0;  // the rows of x in the current block
    bool is_first_ = false, is_last_ = false;
};

}  // namespace

template <class T>
void run(const ops::SecondMoment<T>& op, Team& team) {
    const Tiling<T> tiling(op.x.cols, op.ones);
    const auto for_each = [&](int64_t group, auto&& f) {
        for (int64_t tile = 0; tile < tiling.tiles; ++tile)
            if (const int64_t vectors = tiling.vectors(group, tile)) f(tile, vectors);
    };
    int64_t work = 0;
    for (int64_t group = 0; group < tiling.groups; ++group)
        for_each(group, [&](int64_t, int64_t vectors) { work += vectors; });

    using Product = TriangleProduct<T>;
    Product product(op, tiling, static_cast<T*>(team.scratch(Product::kScratchItems * sizeof(T))));
    // A tile belongs to the thread in whose part of the work it begins.
    const Range mine{work * team.rank() / team.size(), work * (team.rank() + 1) / team.size()};
    int64_t at = 0;
    for (int64_t group = 0; group < tiling.groups; ++group) {
        int64_t begin = 0, end = 0;
        for_each(group, [&](int64_t tile, int64_t vectors) {
            if (at >= mine.begin && at < mine.end) {
                if (end == 0) begin = tile;
                end = tile + 1;
            }
            at += vectors;
        });
        if (end > 0) product.run(group, begin, end, team);
    }
    if (op.ones && team.rank() == 0) product.put_corner();
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SecondMoment)
