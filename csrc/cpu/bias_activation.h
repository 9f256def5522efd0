// What linear layers and convolutions do to each finished tile: an activation of the sum with a bias, or a product with
// the derivative of an activation. Only this is compiled for each formula, not the products before it.
#pragma once

#include "common/activations.h"
#include "cpu/rows.h"
#include "cpu/simd/math.h"
#include "cpu/tile.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// f(c + bias), computed while the tile is in the L1 cache.
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

template <class T>
BiasActivation<T> bias_activation(const VectorView<const T>& bias, const Activation& activation) {
    const auto apply = with_activation(activation, [](auto f) { return apply_formula<T, decltype(f)>; });
    return {bias, activation.parameter, apply};
}

// c(i, j) = combine(c(i, j), other(i, j)) over a tile.
template <class T, class Combine>
STEEPEST_HD void combine_tile(const Tile<T>& tile, const MatrixView<const T>& other, const Combine& combine) {
    using V = Vec<T>;
    for (int64_t i = 0; i < tile.rows; ++i) {
        for (int64_t j = 0; j < tile.cols; j += V::kSize) {
            const int lanes = static_cast<int>(tile.cols - j < V::kSize ? tile.cols - j : V::kSize);
            T* at = tile.data + i * tile.stride + j;
            combine(V::load(at, lanes), load_items(&other(tile.i0 + i, tile.j0 + j), other.col_stride, lanes))
                .store(at, lanes);
        }
    }
}

// c f'(output).
template <class T>
struct TimesDerivative {
    MatrixView<const T> output;
    double parameter;
    void (*apply)(const TimesDerivative&, const Tile<T>&);

    STEEPEST_HD void operator()(const Tile<T>& tile) const { apply(*this, tile); }
};

template <class T, class Formula>
void apply_derivative(const TimesDerivative<T>& epilogue, const Tile<T>& tile) {
    const Formula formula = make_formula<Formula>(epilogue.parameter);
    combine_tile(tile, epilogue.output, [=](Vec<T> c, Vec<T> y) { return c * formula.derivative(y); });
}

template <class T>
TimesDerivative<T> times_derivative(const MatrixView<const T>& output, const Activation& activation) {
    const auto apply = with_output_derivative(activation, [](auto f) { return apply_derivative<T, decltype(f)>; });
    return {output, activation.parameter, apply};
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
