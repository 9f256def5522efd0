#include "cpu/gemm.h"
#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// f(c + bias), computed while the tile is in the L1 cache. Only this is compiled for each formula, not the product.
template <class T>
struct BiasActivation {
    VectorView<const T> bias;
    double parameter;
    void (*apply)(const BiasActivation&, const Tile<T>&);

    STEEPEST_HD void operator()(const Tile<T>& tile) const { apply(*this, tile); }
};

template <class T, class Formula>
void apply_formula(const BiasActivation<T>& epilogue, const Tile<T>& tile) {
    using V = Vec<T>;
    const Formula formula = make_formula<Formula>(epilogue.parameter);
    const VectorView<const T>& bias = epilogue.bias;
    for (int64_t j = 0; j < tile.cols; j += V::kSize) {
        const int lanes = static_cast<int>(tile.cols - j < V::kSize ? tile.cols - j : V::kSize);
        const V shift = bias ? load_items(&bias[tile.j0 + j], bias.stride, lanes) : V(0);
        for (int64_t i = 0; i < tile.rows; ++i) {
            T* at = tile.data + i * tile.stride + j;
            formula.value(V::load(at, lanes) + shift).store(at, lanes);
        }
    }
}

}  // namespace

template <class T>
void run(const ops::Linear<T>& op, Team& team) {
    if (!op.b && op.activation.is_identity()) return gemm(op.x, op.w, op.out, op.precision, NoEpilogue(), team);
    const auto apply = with_activation(op.activation, [](auto f) { return apply_formula<T, decltype(f)>; });
    gemm(op.x, op.w, op.out, op.precision, BiasActivation<T>{op.b, op.activation.parameter, apply}, team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Linear)
