#include "common/activations.h"
#include "common/bernoulli.h"
#include "cpu/gemm.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"
#include "cpu/simd/philox.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// Means and draws of a tile of sums, computed while it is in the L1 cache.
template <class T>
class BernoulliTile {
  public:
    explicit BernoulliTile(const ops::LinearBernoulli<T>& op)
        : op_(op), random_(op.seed, static_cast<uint64_t>(op.stream.get())) {}

    void operator()(const Tile<T>& tile) const {
        for (int64_t i = 0; i < tile.rows; ++i) {
            if (op_.uniforms)
                put_given(tile, i);
            else
                put_drawn(tile, i);
        }
    }

  private:
    using V = Vec<T>;
    static constexpr int kBlock = PhiloxWords::kSize;
    static_assert(TileShape<T>::kCols % 4 == 0);  // tiles begin at the first word of a counter

    void put_given(const Tile<T>& tile, int64_t i) const {
        const MatrixView<const T>& u = op_.uniforms;
        for_each_vector<T>(0, tile.cols, [&](int64_t j, int lanes) {
            put(tile, i, j, lanes, load_items(&u(tile.i0 + i, tile.j0 + j), u.col_stride, lanes));
        });
    }

    void put_drawn(const Tile<T>& tile, int64_t i) const {
        const int64_t first = 4 * first_counter(tile.i0 + i, op_.means.cols) + tile.j0;
        for (int64_t j0 = 0; j0 < tile.cols; j0 += kBlock) {
            const PhiloxWords words = random_.words(first + j0);
#pragma GCC unroll 4
            for (int q = 0; q < kBlock / V::kSize; ++q) {
                const int64_t j = j0 + q * V::kSize, left = tile.cols - j;
                if (left <= 0) break;
                put(tile, i, j, static_cast<int>(left < V::kSize ? left : V::kSize), words.uniforms<T>(q));
            }
        }
    }

    STEEPEST_HD void put(const Tile<T>& tile, int64_t i, int64_t j, int lanes, V u) const {
        T* const at = tile.data + i * tile.stride + j;
        const VectorView<const T>& b = op_.b;
        const V shift = b ? load_items(&b[tile.j0 + j], b.stride, lanes) : V(0);
        const V mean = Sigmoid().value(V::load(at, lanes) + shift);
        mean.store(at, lanes);
        store_items(bernoulli_draw(mean, u), &op_.draws(tile.i0 + i, tile.j0 + j), op_.draws.col_stride, lanes);
    }

    const ops::LinearBernoulli<T>& op_;
    PhiloxStream random_;
};

}  // namespace

template <class T>
void run(const ops::LinearBernoulli<T>& op, Team& team) {
    gemm(op.x, op.w, op.means, op.precision, BernoulliTile<T>(op), team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(LinearBernoulli)
