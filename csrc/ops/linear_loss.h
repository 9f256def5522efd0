// The loss of a linear model with few outputs, z = x @ w + b, and its gradient, in one pass over x:
//     loss = factor sum_i s_i (mean_j or sum_j) l(z_ij, t_ij) / sum_i s_i + l2/2 |w|²
// for a pointwise loss l with targets t (n, k), or the softmax cross-entropy of labels (n,).
#pragma once

#include "ops/linear_model.h"
#include "ops/pointwise_loss.h"
#include "ops/row_chunks.h"

namespace steepest::ops {

struct LinearLossChunks : RowChunks {
    static constexpr int64_t kRows = 64, kAlign = 16;

    int64_t outputs;
    int64_t width;  // numbers that the sums hold for an output of d_w: d, padded to whole vectors

    LinearLossChunks(int64_t n, int64_t d, int64_t k)
        : RowChunks(n, kRows, items(d, k), 4 << 20), outputs(k), width(whole_vectors(d)) {}

    int64_t items() const { return items(width, outputs); }

  private:
    static int64_t whole_vectors(int64_t items) { return (items + kAlign - 1) / kAlign * kAlign; }
    // The numbers of a chunk: d_w, output by output, d_b, the loss and the sum of the weights of its rows.
    static int64_t items(int64_t d, int64_t k) { return whole_vectors(k * (whole_vectors(d) + 1) + 2); }
};

template <class T>
struct LinearLoss {
    static constexpr const char* kName = "linear_loss";
    static constexpr bool kMayFail = true;
    MatrixView<const T> x;              // (n, d)
    MatrixView<const T> w;              // (d, k)
    VectorView<const T> b;              // (k,) or absent
    MatrixView<const T> target;         // (n, k), or absent if labels are given
    IntegerVectorView labels;           // (n,)
    VectorView<const T> sample_weight;  // (n,) or absent
    Loss kind = Loss::kSquaredError;    // of the targets; labels have the softmax cross-entropy
    double parameter = 0, factor = 1;
    bool adds_outputs = false;
    double l2 = 0;
    double* loss = nullptr;
    MatrixView<T> d_w;             // (d, k), or absent, like d_b, to compute the loss alone
    VectorView<T> d_b;             // (k,)
    VectorView<double> workspace;  // at least workspace_items() long

    // The factor of s_i l_ij / sum_i s_i in the loss.
    double item_factor() const { return factor / (adds_outputs || !target ? 1.0 : static_cast<double>(w.cols)); }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "x", x), v(kRead, "w", w), v(kRead, "b", b), v(kRead, "target", target), v(kRead, "target", labels);
        v(kRead, "sample_weight", sample_weight);
        v(kWrite, "loss", one_item(loss)), v(kWrite, "d_w", d_w), v(kWrite, "d_b", d_b);
        v(kWrite, "workspace", workspace);
    }

    void check() const {
        const int64_t k = w.cols;
        require(x.rows > 0 && k > 0, kName, "x has shape ", shape_of(x), " and w has shape ", shape_of(w),
                ": an empty batch has no mean loss");
        check_linear_model(*this);
        if (target) check_loss_parameter(kName, kind, parameter);
        require(l2 >= 0, kName, "l2 is ", l2, "; it must not be negative");
        if (!d_w) return;
        require_same_shape(kName, "d_w", d_w, "w", w);
        require(d_b.size == k, kName, "d_b has shape ", shape_of(d_b), ", but w has ", k, " columns");
    }

    // The size of the workspace in numbers of float64. The CPU stores the sums of all chunks, a GPU the scores of all
    // rows.
    template <bool OnGpu>
    int64_t workspace_items() const {
        if constexpr (OnGpu) return (x.rows * w.cols * static_cast<int64_t>(sizeof(T)) + 7) / 8;
        const LinearLossChunks chunks(x.rows, x.cols, w.cols);
        return chunks.count * chunks.items();
    }

    double flops() const { return (d_w ? 4.0 : 2.0) * x.rows * x.cols * w.cols; }
};

}  // namespace steepest::ops
