#include "cpu/gemm.h"
#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// f(c + bias), while the tile is in the first-level cache.
template <class T, class Formula>
struct BiasActivation {
    VectorView<const T> bias;

    STEEPEST_HD void operator()(const Tile<T>& tile) const {
        using V = Vec<T>;
        for (int64_t j = 0; j < tile.cols; j += V::kSize) {
            const int lanes = static_cast<int>(tile.cols - j < V::kSize ? tile.cols - j : V::kSize);
            const V shift = bias ? load_items(&bias[tile.j0 + j], bias.stride, lanes) : V(0);
            for (int64_t i = 0; i < tile.rows; ++i) {
                T* at = tile.data + i * tile.stride + j;
                Formula::value(V::load(at, lanes) + shift).store(at, lanes);
            }
        }
    }
};

}  // namespace

template <class T>
void run(const ops::Linear<T>& op, Team& team) {
    if (!op.b && op.activation == Activation::kIdentity) return gemm(op.x, op.w, op.out, NoEpilogue(), team);
    with_activation(op.activation,
                    [&](auto formula) { gemm(op.x, op.w, op.out, BiasActivation<T, decltype(formula)>{op.b}, team); });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Linear)
