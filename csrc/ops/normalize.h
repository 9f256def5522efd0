// Layer, RMS, group and batch norm: y = (x - mean) rstd weight + bias, rstd = 1 / sqrt(var + eps), with the biased
// variance of the items that share their statistics (common/normalization.h), its gradients and its derivative along a
// direction. RMS norm does not subtract the mean. With xh = (x - mean) rstd, and averages <> over a group:
//     backward   d_x = rstd (u - <u> - xh <u xh>) for u = weight d_y,   d_weight = sum d_y xh,   d_bias = sum d_y
//     tangent    out = weight rstd (dx - <dx> - xh <dx xh>) + d_weight xh + d_bias
// J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016; B. Zhang, R. Sennrich, "Root mean square layer
// normalization", 2019; Y. Wu, K. He, "Group normalization", 2018; S. Ioffe, C. Szegedy, "Batch normalization", 2015.
#pragma once

#include "common/normalization.h"
#include "ops/contract.h"
#include "ops/row_chunks.h"
#include "ops/tensors.h"

namespace steepest::ops {

// Samples of several places are walked in columns. A few large ones are cut into parts.
struct NormParts {
    static constexpr int64_t kManySamples = 64;
    int64_t count, rows;  // parts of a sample, and its rows

    explicit NormParts(const NormGroups& g) : count(1), rows(g.places) {
        constexpr int64_t kLeastItems = 16384;
        if (g.samples >= kManySamples || g.places == 1 || g.samples == 0) return;
        const int64_t most = kManySamples / g.samples, wanted = g.places * g.channels / kLeastItems;
        count = wanted < most ? wanted : most;
        if (count > rows) count = rows;
        if (count < 1) count = 1;
    }

    // First row, within its sample, of a part.
    int64_t begin(int64_t part) const { return rows * part / count; }
};

// The chunks of samples that have their own sums over channels.
inline RowChunks sample_chunks(const NormGroups& g) {
    return {g.samples, g.places == 1 ? 16 : 1, 2 * g.channels, int64_t{1} << 20};
}

inline void require_groups(const char* name, const NormGroups& g) {
    require(g.groups >= 1 && g.channels % g.groups == 0, name, "groups is ", g.groups, ", but x has ", g.channels,
            " channels: they must divide into groups");
    require(g.samples == 0 || g.items() > 0, name, "x has no items to average: ", g.places, " places of ", g.channels,
            " channels");
}

template <class T>
void require_channels(const char* name, const char* what, const VectorView<T>& v, const NormGroups& g) {
    require(!v || v.size == g.channels, name, what, " has shape ", shape_of(v), ", but x has ", g.channels,
            " channels");
}

// The number of threads that moving these bytes keeps busy.
template <class T>
int64_t threads_for_items(const NormGroups& g, int64_t passes) {
    return passes * g.rows() * g.channels * static_cast<int64_t>(sizeof(T)) / kBytesForThread;
}

template <class T>
struct Normalize {
    static constexpr const char* kName = "normalize";
    Norm norm;
    NormGroups shape;
    double epsilon;
    bool given;                        // whether running_mean and running_var are the statistics, and only read
    TensorView<const T> x;             // rows along the leading axes, in C order
    VectorView<const T> weight, bias;  // (channels,) or absent
    TensorView<T> out;                 // of x's extents: x itself, or disjoint from it
    MatrixView<T> mean, rstd;          // (samples, groups); absent with `given`, mean also for RMS norm
    double momentum = 0;
    VectorView<T> running_mean, running_var;  // (channels,) or absent
    VectorView<double> workspace;             // at least workspace_items() long

    const char* name() const {
        static constexpr const char* kNames[] = {"layer_norm", "rms_norm", "group_norm", "batch_norm"};
        return given ? "batch_norm_inference" : kNames[static_cast<int>(norm)];
    }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "x", x), v(kRead, "weight", weight), v(kRead, "bias", bias);
        const Use use = given ? kRead : kUpdate;
        v(use, "running_mean", running_mean), v(use, "running_var", running_var);
        v(kWriteItems, "out", out), v(kWrite, "mean", mean), v(kWrite, "rstd", rstd);
        v(kWrite, "workspace", workspace);
    }

    void check() const {
        require_groups(name(), shape);
        require_channels(name(), "weight", weight, shape), require_channels(name(), "bias", bias, shape);
        require_channels(name(), "running_mean", running_mean, shape);
        require_channels(name(), "running_var", running_var, shape);
        require(static_cast<bool>(running_mean) == static_cast<bool>(running_var), name(),
                "running_mean and running_var go together, but one of them is missing");
        require(momentum >= 0 && momentum <= 1, name(), "momentum is ", momentum, "; it must be in [0, 1]");
        require(norm != Norm::kBatch || given || shape.places >= 2, name(), "x has ", shape.places,
                " rows; the variance of a batch needs at least 2");
    }

    template <bool OnGpu>
    int64_t workspace_items() const {
        const int64_t parts = shape.samples * NormParts(shape).count;
        return !OnGpu && !given && parts > shape.samples ? parts * 2 * shape.channels : 0;
    }

    int64_t most_members() const { return threads_for_items<T>(shape, shape.places == 1 ? 2 : 3); }
    double flops() const { return (given ? 2.0 : 8.0) * shape.rows() * shape.channels; }
};

template <class T>
struct NormalizeBackward {
    static constexpr const char* kName = "normalize_backward";
    Norm norm;
    NormGroups shape;
    bool accumulate;                 // whether d_weight and d_bias are added to
    TensorView<const T> d_y, x;      // rows along the leading axes, in C order
    MatrixView<const T> mean, rstd;  // (samples, groups); mean is absent for RMS norm
    VectorView<const T> weight;      // (channels,) or absent
    TensorView<T> d_x;               // d_y or x itself, disjoint from both, or absent
    VectorView<T> d_weight, d_bias;  // (channels,) or absent
    VectorView<double> workspace;    // at least workspace_items() long

    const char* name() const {
        static constexpr const char* kNames[] = {"layer_norm_backward", "rms_norm_backward", "group_norm_backward",
                                                 "batch_norm_backward"};
        return kNames[static_cast<int>(norm)];
    }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "d_y", d_y), v(kReadItems, "x", x), v(kRead, "mean", mean), v(kRead, "rstd", rstd);
        v(kRead, "weight", weight), v(kWriteItems, "d_x", d_x);
        const Use use = accumulate ? kUpdate : kWrite;
        v(use, "d_weight", d_weight), v(use, "d_bias", d_bias), v(kWrite, "workspace", workspace);
    }

    void check() const {
        require_groups(name(), shape);
        require_channels(name(), "weight", weight, shape);
    }

    bool sums_channels() const { return d_weight || d_bias; }

    template <bool OnGpu>
    int64_t workspace_items() const {
        if (OnGpu) return 0;
        const int64_t parts = NormParts(shape).count;
        if (parts > 1) return shape.samples * parts * 2 * shape.channels;
        return sums_channels() ? sample_chunks(shape).count * 2 * shape.channels : 0;
    }

    int64_t most_members() const { return threads_for_items<T>(shape, shape.places == 1 ? 3 : 5); }
    double flops() const { return 12.0 * shape.rows() * shape.channels; }
};

template <class T>
struct NormalizeTangent {
    static constexpr const char* kName = "normalize_tangent";
    Norm norm;
    NormGroups shape;
    TensorView<const T> dx;                // of x's extents, or absent
    TensorView<const T> x;                 // rows along the leading axes, in C order
    MatrixView<const T> mean, rstd;        // (samples, groups); mean is absent for RMS norm
    VectorView<const T> weight;            // (channels,) or absent
    VectorView<const T> d_weight, d_bias;  // (channels,) or absent
    TensorView<T> out;                     // dx or x itself, or disjoint from both
    VectorView<double> workspace;          // at least workspace_items() long

    const char* name() const {
        static constexpr const char* kNames[] = {"layer_norm_tangent", "rms_norm_tangent", "group_norm_tangent",
                                                 "batch_norm_tangent"};
        return kNames[static_cast<int>(norm)];
    }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kReadItems, "dx", dx), v(kReadItems, "x", x), v(kRead, "mean", mean), v(kRead, "rstd", rstd);
        v(kRead, "weight", weight), v(kRead, "d_weight", d_weight), v(kRead, "d_bias", d_bias);
        v(kWriteItems, "out", out), v(kWrite, "workspace", workspace);
    }

    void check() const {
        require_groups(name(), shape);
        require_channels(name(), "weight", weight, shape);
        require_channels(name(), "d_weight", d_weight, shape), require_channels(name(), "d_bias", d_bias, shape);
        require(dx || d_weight || d_bias, name(), "a direction is needed: dx, d_weight or d_bias");
    }

    template <bool OnGpu>
    int64_t workspace_items() const {
        const int64_t parts = NormParts(shape).count;
        return !OnGpu && dx && parts > 1 ? shape.samples * parts * 2 * shape.channels : 0;
    }

    int64_t most_members() const { return threads_for_items<T>(shape, shape.places == 1 ? 3 : 5); }
    double flops() const { return 12.0 * shape.rows() * shape.channels; }
};

// Joins the leading axes of views of one shape where each view's rows follow one another. The rows keep their order.
// Absent views stay absent, and every view keeps one leading axis.
template <class First, class... Rest>
void join_rows(First& first, Rest&... rest) {
    const auto for_each = [&](auto&& f) { f(first), (f(rest), ...); };
    const int last = first.axes - 1;
    int axes = 0;
    for (int d = 0; d < last; ++d) {
        if (first.extent[d] == 1) continue;
        bool follows = axes > 0;
        for_each([&](auto& view) { follows = follows && view.stride[axes - 1] == view.extent[d] * view.stride[d]; });
        if (!follows) ++axes;
        for_each([&](auto& view) {
            view.extent[axes - 1] = follows ? view.extent[axes - 1] * view.extent[d] : view.extent[d];
            view.stride[axes - 1] = view.stride[d];
        });
    }
    for_each([&](auto& view) {
        const int64_t channels = view.extent[last], stride = view.stride[last];
        if (axes == 0) view.extent[0] = 1, view.stride[0] = 0;
        view.axes = (axes > 0 ? axes : 1) + 1;
        view.extent[view.axes - 1] = channels, view.stride[view.axes - 1] = stride;
    });
}

}  // namespace steepest::ops
