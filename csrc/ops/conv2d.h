// Convolutions of images, their transposes, and the gradients of their weights.
//
// Images are (n, rows, columns, channels). Weights are (taps down, taps across, channels of x / groups, channels of
// out): out(y, x, k) sums, over taps (i, j) and the channels c of k's group, the items of x at row rows.first(y) + i
// dilation and column columns.first(x) + j dilation, times weight(i, j, c, k).
#pragma once

#include "common/activations.h"
#include "common/taps.h"
#include "ops/contract.h"

namespace steepest::ops {

// Rows and columns of an image with its padding, and its channels: kernels count them with 32 bits, and may add some.
constexpr int64_t kLongestAxis = int64_t{1} << 29;

// What all three have to agree on: x and out are the images of the convolution itself.
template <class X, class W, class Y>
void check_convolution(const char* name, const char* x_name, const TensorView<X>& x, const TensorView<W>& weight,
                       const char* out_name, const TensorView<Y>& out, const Taps& window, int64_t groups) {
    require(groups >= 1, name, "groups is ", groups, "; it must be at least 1");
    require(x.extent[3] % groups == 0 && out.extent[3] % groups == 0, name, "groups is ", groups, ", but ", x_name,
            " has ", x.extent[3], " channels and ", out_name, " has ", out.extent[3], ": groups must divide both");
    require(weight.extent[2] * groups == x.extent[3] && weight.extent[3] == out.extent[3], name, "weight of shape ",
            shape_of(weight), " is for ", weight.extent[2] * groups, " channels in and ", weight.extent[3],
            " out, but ", x_name, " has ", x.extent[3], " and ", out_name, " has ", out.extent[3]);
    require(x.extent[3] <= kLongestAxis && out.extent[3] <= kLongestAxis, name, x_name, " and ", out_name,
            " may have at most ", kLongestAxis, " channels");
    const auto check_axis = [&](const TapAxis& axis, int d, const char* along) {
        require(axis.size >= 1, name, "weight of shape ", shape_of(weight), " has no taps");
        require(axis.stride >= 1 && axis.dilation >= 1, name, "stride and dilation along ", along,
                " must be at least 1");
        require(axis.before >= 0 && axis.after >= 0, name, "padding along ", along, " must not be negative");
        require(x.extent[d] + axis.before + axis.after <= kLongestAxis, name, "an image of ", x.extent[d], " ", along,
                " and ", axis.before, " + ", axis.after, " of padding is larger than ", kLongestAxis);
        require(axis.outputs(x.extent[d]) == out.extent[d], name, out_name, " has ", out.extent[d], " ", along,
                ", but the convolution of ", x.extent[d], " ", along, " with a window of ", axis.extent(), " has ",
                axis.outputs(x.extent[d]));
    };
    check_axis(window.rows, 1, "rows"), check_axis(window.columns, 2, "columns");
    require(x.extent[0] == out.extent[0], name, x_name, " has ", x.extent[0], " images, but ", out_name, " has ",
            out.extent[0]);
}

template <class T>
void check_bias(const char* name, const VectorView<const T>& bias, const TensorView<T>& out) {
    require(!bias || bias.size == out.extent[3], name, "bias has shape ", shape_of(bias), ", but out has ",
            out.extent[3], " channels");
}

template <class T>
double convolution_flops(const TensorView<T>& weight, const Taps& window, int64_t images, int64_t places) {
    return 2.0 * images * places * window.taps() * weight.extent[2] * weight.extent[3];
}

// out = f(x * weight + bias)
template <class T>
struct Conv2d {
    static constexpr const char* kName = "conv2d";
    TensorView<const T> x;
    TensorView<const T> weight;
    VectorView<const T> bias;  // of out's channels, or absent
    TensorView<T> out;
    Taps window;
    int64_t groups = 1;
    Activation activation;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "weight", weight), v(kRead, "bias", bias), v(kWrite, "out", out);
    }

    void check() const {
        check_convolution(kName, "x", x, weight, "out", out, window, groups);
        check_bias(kName, bias, out);
    }

    double flops() const { return convolution_flops(weight, window, out.extent[0], out.extent[1] * out.extent[2]); }
};

// The transposed map, from images of the convolution's outputs `x` to images of its inputs `out`:
// out = f(sum + bias) or, with `output`, sum f'(output), the gradient behind an activation whose output that is.
template <class T>
struct Conv2dTranspose {
    static constexpr const char* kName = "conv2d_transpose";
    TensorView<const T> x;
    TensorView<const T> weight;
    VectorView<const T> bias;    // of out's channels, or absent
    TensorView<const T> output;  // of out's shape, or absent
    TensorView<T> out;
    Taps window;
    int64_t groups = 1;
    Activation activation;

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "weight", weight), v(kRead, "bias", bias), v(kRead, "output", output);
        v(kWrite, "out", out);
    }

    void check() const {
        check_convolution(kName, "out", out, weight, "x", x, window, groups);
        check_bias(kName, bias, out);
    }

    double flops() const { return convolution_flops(weight, window, x.extent[0], x.extent[1] * x.extent[2]); }
};

// d_weight = sum over places of x d_out + l2 weight, d_bias = sum over places of d_out; or both added to what is there.
// On the CPU images are summed in chunks, and the chunks in order.
template <class T>
struct Conv2dWeightGradient {
    static constexpr const char* kName = "conv2d_backward";
    static constexpr int64_t kMostChunks = 16;
    static constexpr int64_t kWorkspaceBytes = 8 << 20;  // at most, unless a single chunk takes more
    TensorView<const T> d_out;
    TensorView<const T> x;
    TensorView<const T> weight;
    TensorView<T> d_weight;
    VectorView<T> d_bias;
    VectorView<double> workspace;  // at least workspace_items() long
    Taps window;
    int64_t groups = 1;
    double l2 = 0;
    bool accumulate = false;

    template <class Visitor>
    void visit(Visitor&& v) const {
        const Use use = accumulate ? kUpdate : kWrite;
        v(kRead, "d_out", d_out), v(kRead, "x", x), v(kRead, "weight", weight);
        v(use, "d_weight", d_weight), v(use, "d_bias", d_bias), v(kWrite, "workspace", workspace);
    }

    void check() const {
        check_convolution(kName, "x", x, weight, "d_out", d_out, window, groups);
        require(l2 >= 0, kName, "l2 is ", l2, "; it must not be negative");
    }

    int64_t chunk_items() const { return weight.size() + d_out.extent[3]; }
    int64_t chunks() const {
        const int64_t items = chunk_items() > 0 ? chunk_items() : 1, images = x.extent[0];
        int64_t most = kWorkspaceBytes / (items * static_cast<int64_t>(sizeof(T)));
        if (most > kMostChunks) most = kMostChunks;
        if (most > images) most = images;
        return most < 1 ? 1 : most;
    }
    // The size of the workspace in numbers of float64: the CPU stores the sums of all chunks.
    template <bool kOnGpu>
    int64_t workspace_items() const {
        if (kOnGpu) return 0;
        return (chunks() * chunk_items() * static_cast<int64_t>(sizeof(T)) + 7) / static_cast<int64_t>(sizeof(double));
    }

    double flops() const {
        return convolution_flops(weight, window, d_out.extent[0], d_out.extent[1] * d_out.extent[2]);
    }
};

// All arrays of a call that computes gradients, of which its two operations see a part each. It is checked, not run.
template <class T>
struct Conv2dBackward {
    static constexpr const char* kName = "conv2d_backward";
    TensorView<const T> d_out, x, weight;
    TensorView<T> d_x;  // or absent
    TensorView<T> d_weight;
    VectorView<T> d_bias;
    Taps window;
    int64_t groups = 1;
    Activation activation;  // the function that produced x
    bool accumulate = false;

    template <class Visitor>
    void visit(Visitor&& v) const {
        const Use use = accumulate ? kUpdate : kWrite;
        v(kRead, "d_out", d_out), v(kRead, "x", x), v(kRead, "weight", weight);
        v(kWrite, "d_x", d_x), v(use, "d_weight", d_weight), v(use, "d_bias", d_bias);
    }

    void check() const {
        check_convolution(kName, "x", x, weight, "d_out", d_out, window, groups);
        const ActivationInfo& info = info_of(activation.kind);
        require(info.derivative_at == DerivativeAt::kOutput, kName, "the derivative of ", info.name,
                " cannot be computed from its output, x: pass activation='identity', then call activation_backward");
    }
};

}  // namespace steepest::ops
