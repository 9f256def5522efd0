// The cells of recurrent networks: what a step makes of the sums of its gates, its derivatives, and its change, once for
// CPU vectors and CUDA lanes. Per unit, `a` are the gates' products of the step's input with their bias, `s` their
// products of the hidden state before the step. The gates of a unit lie side by side in the order that a cell names.
//
// A cell keeps one number of each unit beside its gates: the LSTM its cell state c, the GRU the sum q that its reset gate
// multiplies. With kResetsFirst the reset gate multiplies the hidden state before the product instead, which makes a
// step two products, one after the other.
#pragma once

#include <cstdint>

#include "common/activations.h"

// X(cell). The functions of steepest.kernels take these names.
#define STEEPEST_CELLS(X) \
    X(RnnTanh)            \
    X(RnnRelu)            \
    X(Lstm)               \
    X(Gru)                \
    X(GruResetBefore)

namespace steepest {

enum class CellKind : int8_t {
#define STEEPEST_ENUMERATOR(Name) k##Name,
    STEEPEST_CELLS(STEEPEST_ENUMERATOR)
#undef STEEPEST_ENUMERATOR
};

struct CellInfo {
    const char* name;
    int gates;
    bool keeps;           // whether a number of each unit is kept beside the gates
    bool has_cell_state;  // whether that is a state of its own, such as the LSTM's c
    bool has_inner_bias;  // whether the hidden state's product has a bias that cannot be added to that of the input's
    bool resets_first;
    CellKind kind = CellKind::kRnnTanh;  // set by kCells

    constexpr CellInfo of_kind(CellKind own) const {
        CellInfo info = *this;
        info.kind = own;
        return info;
    }
};

inline namespace STEEPEST_TARGET {

// What a step's derivative gives back, beside the gradients of the sums.
template <class V>
struct CellGradient {
    V h;     // the part of the gradient of the hidden state before that passes no product
    V kept;  // the gradient of the number that the step before has kept, if that is a state
};

// h = f(a + s)
template <class Function>
struct Rnn {
    static constexpr int kGates = 1;
    static constexpr bool kKeeps = false, kState = false, kResetsFirst = false;

    template <class V>
    static STEEPEST_HD V forward(const V* a, const V* s, V, V, V* gate, V&) {
        return gate[0] = Function{}.value(a[0] + s[0]);
    }
    template <class V>
    static STEEPEST_HD CellGradient<V> backward(const V* gate, V, V, V, V dh, V, V* da, V& dq) {
        da[0] = dq = dh * Function{}.derivative(gate[0]);
        return {V(0), V(0)};
    }
    template <class V>
    static STEEPEST_HD V tangent(const V* gate, V, V, V, const V* da, const V* ds, V, V, V&) {
        return (da[0] + ds[0]) * Function{}.derivative(gate[0]);
    }
};

struct RnnTanh : Rnn<Tanh> {
    static constexpr CellInfo kInfo{.name = "rnn_tanh",
                                    .gates = 1,
                                    .keeps = false,
                                    .has_cell_state = false,
                                    .has_inner_bias = false,
                                    .resets_first = false};
};
struct RnnRelu : Rnn<Relu> {
    static constexpr CellInfo kInfo{.name = "rnn_relu",
                                    .gates = 1,
                                    .keeps = false,
                                    .has_cell_state = false,
                                    .has_inner_bias = false,
                                    .resets_first = false};
};

// i, f, o = sigmoid(...), g = tanh(...); c = f c' + i g, h = o tanh(c) (S. Hochreiter, J. Schmidhuber, "Long short-term
// memory", 1997; F. Gers, J. Schmidhuber, F. Cummins, "Learning to forget", 2000). Gates: i, f, g, o.
struct Lstm {
    static constexpr CellInfo kInfo{.name = "lstm",
                                    .gates = 4,
                                    .keeps = true,
                                    .has_cell_state = true,
                                    .has_inner_bias = false,
                                    .resets_first = false};
    static constexpr int kGates = 4;
    static constexpr bool kKeeps = true, kState = true, kResetsFirst = false;

    template <class V>
    static STEEPEST_HD V forward(const V* a, const V* s, V, V c_before, V* gate, V& c) {
        for (int g = 0; g < 4; ++g) gate[g] = g == 2 ? Tanh{}.value(a[g] + s[g]) : Sigmoid{}.value(a[g] + s[g]);
        c = fma(gate[1], c_before, gate[0] * gate[2]);
        return gate[3] * Tanh{}.value(c);
    }
    template <class V>
    static STEEPEST_HD CellGradient<V> backward(const V* gate, V c, V c_before, V, V dh, V dc_after, V* da, V& dq) {
        const V t = Tanh{}.value(c);
        const V dc = fma(dh * gate[3], Tanh{}.derivative(t), dc_after);
        da[0] = dc * gate[2] * Sigmoid{}.derivative(gate[0]);
        da[1] = dc * c_before * Sigmoid{}.derivative(gate[1]);
        da[2] = dc * gate[0] * Tanh{}.derivative(gate[2]);
        da[3] = dq = dh * t * Sigmoid{}.derivative(gate[3]);
        return {V(0), dc * gate[1]};
    }
    template <class V>
    static STEEPEST_HD V tangent(const V* gate, V c, V c_before, V, const V* da, const V* ds, V, V moved_c_before,
                                 V& moved_c) {
        V moved[4];
        for (int g = 0; g < 4; ++g)
            moved[g] = (da[g] + ds[g]) * (g == 2 ? Tanh{}.derivative(gate[g]) : Sigmoid{}.derivative(gate[g]));
        moved_c = fma(moved[1], c_before, gate[1] * moved_c_before) + fma(moved[0], gate[2], gate[0] * moved[2]);
        const V t = Tanh{}.value(c);
        return fma(moved[3], t, gate[3] * Tanh{}.derivative(t) * moved_c);
    }
};

// r, z = sigmoid(...), n = tanh(a_n + r q), h = n + z (h' - n) with q = h' U_n + b (K. Cho et al., "Learning phrase
// representations using RNN encoder-decoder", 2014, with the reset gate behind the product, as in cuDNN and PyTorch).
// Gates: r, z, n.
struct Gru {
    static constexpr CellInfo kInfo{.name = "gru",
                                    .gates = 3,
                                    .keeps = true,
                                    .has_cell_state = false,
                                    .has_inner_bias = true,
                                    .resets_first = false};
    static constexpr int kGates = 3;
    static constexpr bool kKeeps = true, kState = false, kResetsFirst = false;

    template <class V>
    static STEEPEST_HD V forward(const V* a, const V* s, V h_before, V, V* gate, V& q) {
        gate[0] = Sigmoid{}.value(a[0] + s[0]), gate[1] = Sigmoid{}.value(a[1] + s[1]);
        q = s[2];
        gate[2] = Tanh{}.value(fma(gate[0], q, a[2]));
        return fma(gate[1], h_before - gate[2], gate[2]);
    }
    template <class V>
    static STEEPEST_HD CellGradient<V> backward(const V* gate, V q, V, V h_before, V dh, V, V* da, V& dq) {
        const V dn = dh * (V(1) - gate[1]) * Tanh{}.derivative(gate[2]);
        da[0] = dn * q * Sigmoid{}.derivative(gate[0]);
        da[1] = dh * (h_before - gate[2]) * Sigmoid{}.derivative(gate[1]);
        da[2] = dn, dq = dn * gate[0];
        return {dh * gate[1], V(0)};
    }
    template <class V>
    static STEEPEST_HD V tangent(const V* gate, V q, V, V h_before, const V* da, const V* ds, V moved_h, V,
                                 V& moved_q) {
        const V dr = (da[0] + ds[0]) * Sigmoid{}.derivative(gate[0]),
                dz = (da[1] + ds[1]) * Sigmoid{}.derivative(gate[1]);
        moved_q = ds[2];
        const V dn = (da[2] + fma(dr, q, gate[0] * ds[2])) * Tanh{}.derivative(gate[2]);
        return fma(dn, V(1) - gate[1], fma(gate[1], moved_h, dz * (h_before - gate[2])));
    }
};

// The same with n = tanh(a_n + (r h') U_n), as in the paper.
struct GruResetBefore {
    static constexpr CellInfo kInfo{.name = "gru_reset_before",
                                    .gates = 3,
                                    .keeps = false,
                                    .has_cell_state = false,
                                    .has_inner_bias = false,
                                    .resets_first = true};
    static constexpr int kGates = 3;
    static constexpr bool kKeeps = false, kState = false, kResetsFirst = true;

    // Returns r h', the left operand of the second product.
    template <class V>
    static STEEPEST_HD V reset(const V* a, const V* s, V h_before, V* gate) {
        gate[0] = Sigmoid{}.value(a[0] + s[0]), gate[1] = Sigmoid{}.value(a[1] + s[1]);
        return gate[0] * h_before;
    }
    template <class V>
    static STEEPEST_HD V forward(const V* a, const V* s, V h_before, V, V* gate, V&) {
        gate[2] = Tanh{}.value(a[2] + s[2]);
        return fma(gate[1], h_before - gate[2], gate[2]);
    }
    // The gradients of z and n; that of r needs the product of the latter with the weights, which is ds below.
    template <class V>
    static STEEPEST_HD CellGradient<V> backward(const V* gate, V, V, V h_before, V dh, V, V* da, V&) {
        da[1] = dh * (h_before - gate[2]) * Sigmoid{}.derivative(gate[1]);
        da[2] = dh * (V(1) - gate[1]) * Tanh{}.derivative(gate[2]);
        return {dh * gate[1], V(0)};
    }
    // The gradient of r's sum; ds gate[0] is another part of that of the hidden state before.
    template <class V>
    static STEEPEST_HD V reset_backward(const V* gate, V h_before, V ds) {
        return ds * h_before * Sigmoid{}.derivative(gate[0]);
    }
    // How r h' changes, and what z's sum changes by.
    template <class V>
    static STEEPEST_HD V reset_tangent(const V* gate, V h_before, const V* da, const V* ds, V moved_h) {
        return fma((da[0] + ds[0]) * Sigmoid{}.derivative(gate[0]), h_before, gate[0] * moved_h);
    }
    template <class V>
    static STEEPEST_HD V tangent(const V* gate, V, V, V h_before, const V* da, const V* ds, V moved_h, V, V&) {
        const V dz = (da[1] + ds[1]) * Sigmoid{}.derivative(gate[1]);
        const V dn = (da[2] + ds[2]) * Tanh{}.derivative(gate[2]);
        return fma(dn, V(1) - gate[1], fma(gate[1], moved_h, dz * (h_before - gate[2])));
    }
};

// Calls f(cell) with the cell of a kind, so that loops are compiled once for each.
template <class F>
auto with_cell(CellKind kind, F&& f) {
    switch (kind) {
#define STEEPEST_CASE(Name) \
    case CellKind::k##Name: return f(Name{});
        STEEPEST_CELLS(STEEPEST_CASE)
#undef STEEPEST_CASE
    }
    return f(RnnTanh{});
}

}  // namespace STEEPEST_TARGET

inline constexpr CellInfo kCells[] = {
#define STEEPEST_INFO(Name) Name::kInfo.of_kind(CellKind::k##Name),
    STEEPEST_CELLS(STEEPEST_INFO)
#undef STEEPEST_INFO
};

STEEPEST_HD const CellInfo& info_of(CellKind kind) { return kCells[static_cast<int>(kind)]; }

}  // namespace steepest
