#include "cpu/gemm.h"
#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// (c + bias) f'(output), computed while the tile is in the L1 cache. Only this is compiled for each formula.
template <class T>
struct BiasTimesDerivative {
    VectorView<const T> bias;
    MatrixView<const T> output;
    double parameter;
    void (*apply)(const BiasTimesDerivative&, const Tile<T>&);

    STEEPEST_HD void operator()(const Tile<T>& tile) const { apply(*this, tile); }
};

template <class T, class Formula>
void apply_formula(const BiasTimesDerivative<T>& epilogue, const Tile<T>& tile) {
    using V = Vec<T>;
    const Formula formula = make_formula<Formula>(epilogue.parameter);
    const VectorView<const T>& bias = epilogue.bias;
    const MatrixView<const T>& output = epilogue.output;
    for (int64_t j = 0; j < tile.cols; j += V::kSize) {
        const int lanes = static_cast<int>(tile.cols - j < V::kSize ? tile.cols - j : V::kSize);
        const V shift = bias ? load_items(&bias[tile.j0 + j], bias.stride, lanes) : V(0);
        for (int64_t i = 0; i < tile.rows; ++i) {
            T* const at = tile.data + i * tile.stride + j;
            V sum = V::load(at, lanes) + shift;
            if constexpr (!std::is_same_v<Formula, Identity>)
                sum = sum * formula.derivative(load_items(&output(tile.i0 + i, tile.j0 + j), output.col_stride, lanes));
            sum.store(at, lanes);
        }
    }
}

}  // namespace

template <class T>
void run(const ops::LinearTangent<T>& op, Team& team) {
    const auto finish = [&](const MatrixView<const T>& a, const MatrixView<const T>& b, bool accumulate) {
        if (!op.c && op.activation.is_identity())
            return gemm(a, b, op.out, op.precision, NoEpilogue(), team, accumulate);
        const auto apply = with_output_derivative(op.activation, [](auto f) { return apply_formula<T, decltype(f)>; });
        gemm(a, b, op.out, op.precision, BiasTimesDerivative<T>{op.c, op.y, op.activation.parameter, apply}, team,
             accumulate);
    };
    if (!op.dx) return finish(op.x, op.v, false);
    // Both products have the same sizes, so a thread adds to items that it has computed itself.
    gemm(op.x, op.v, op.out, op.precision, NoEpilogue(), team);
    finish(op.dx, op.w, true);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(LinearTangent)
