// Scaled dot-product attention over rows and spans, its gradients, and its derivative along a direction. For each head,
// with the scores s_ij = scale q_i . k_j of the keys that query i may attend to (common/attention.h):
//     forward    L_i = log sum_j exp(s_ij),   p_ij = exp(s_ij - L_i),   y_i = sum_j p_ij v_j
//     backward   D_i = d_y_i . y_i,   ds_ij = p_ij (d_y_i . v_j - D_i),
//                d_q_i = scale sum_j ds_ij k_j,   d_k_j = scale sum_i ds_ij q_i,   d_v_j = sum_i p_ij d_y_i
//     tangent    ds_ij = scale (dq_i . k_j + q_i . dk_j),   dy_i = sum_j p_ij (ds_ij v_j + dv_j) - (sum_j p_ij ds_ij) y_i
// The probabilities are computed anew from L wherever they are needed, block by block: no matrix of all scores is kept.
// A query without keys has y = 0, L = -infinity and no gradient.
// A. Vaswani et al., "Attention is all you need", 2017; T. Dao et al., "FlashAttention: fast and memory-efficient exact
// attention with IO-awareness", 2022; J. Ainslie et al., "GQA: training generalized multi-query transformer models from
// multi-head checkpoints", 2023.
#pragma once

#include "common/attention.h"
#include "ops/contract.h"

namespace steepest::ops {

// Rows of heads side by side, contiguous; the rows themselves may be any distance apart.
template <class T>
void require_rows(const char* name, const char* what, const MatrixView<T>& m, int64_t rows, int64_t cols) {
    require(!m || (m.rows == rows && m.cols == cols), name, what, " has shape ", shape_of(m), "; ",
            ShapeText{rows, cols}, " is needed");
    require(!m || m.col_stride == 1 || m.cols <= 1 || m.rows == 0, name, "the rows of ", what, " must be contiguous");
}

// What the three operations have in common: the pattern and the inputs of the scores.
template <class T>
struct AttentionInputs {
    AttentionPattern pattern;
    T scale;
    MatrixView<const T> q;  // (rows, heads * d)
    MatrixView<const T> k;  // (key rows, key_heads * d)
    MatrixView<const T> v;  // (key rows, key_heads * d_v)

    STEEPEST_HD int64_t width() const { return q.cols / pattern.heads; }
    STEEPEST_HD int64_t value_width() const { return v.cols / pattern.key_heads; }
    STEEPEST_HD int64_t out_width() const { return pattern.heads * value_width(); }

    template <class Visitor>
    void visit(Visitor&& visitor) const {
        visitor(kRead, "q", q), visitor(kRead, "k", k), visitor(kRead, "v", v);
        visitor(kRead, "spans", pattern.queries.table), visitor(kRead, "key_spans", pattern.keys.table);
        visitor(kRead, "mask", pattern.mask), visitor(kRead, "shared_mask", pattern.shared_mask);
    }

    void check(const char* name) const {
        const AttentionPattern& p = pattern;
        require(p.key_heads >= 1 && p.heads >= 1 && p.heads % p.key_heads == 0, name, "heads is ", p.heads,
                " and key_heads is ", p.key_heads, ": heads must be a multiple of key_heads");
        require(q.cols > 0 && q.cols % p.heads == 0, name, "q has shape ", shape_of(q), ", whose columns are not ",
                p.heads, " heads of the same width");
        require(v.cols > 0 && v.cols % p.key_heads == 0, name, "v has shape ", shape_of(v), ", whose columns are not ",
                p.key_heads, " heads of the same width");
        require_rows(name, "q", q, q.rows, q.cols);
        require_rows(name, "k", k, k.rows, p.key_heads * width());
        require_rows(name, "v", v, k.rows, v.cols);
        require(p.queries.count == p.keys.count, name, "spans has ", p.queries.count, " sequences, but key_spans has ",
                p.keys.count);
        require(scale - scale == 0, name, "scale is ", scale, "; it must be finite");
        require(!p.mask || p.mask.rows == q.rows, name, "mask has shape ", shape_of(p.mask), ", but q has ", q.rows,
                " rows");
        if (p.queries.count == 0) return;
        // The lengths in tables are read when the operation runs.
        require(!p.mask || p.keys.table || p.mask.cols >= p.keys.length(0), name, "mask has shape ", shape_of(p.mask),
                ", but sequences have ", p.keys.table ? 0 : p.keys.length(0), " keys");
        const MatrixView<const uint8_t>& shared = p.shared_mask;
        require(!shared || p.keys.table || shared.cols >= p.keys.length(0), name, "shared_mask has shape ",
                shape_of(shared), ", but sequences have ", p.keys.table ? 0 : p.keys.length(0), " keys");
        require(!shared || p.queries.table || shared.rows >= p.queries.length(0), name, "shared_mask has shape ",
                shape_of(shared), ", but sequences have ", p.queries.table ? 0 : p.queries.length(0), " queries");
    }

    // An estimate, which takes sequences as equally long.
    double scores() const {
        const double keys = pattern.keys.count > 0 ? 1.0 * k.rows / pattern.keys.count : 0;
        return (pattern.causal ? 0.5 : 1.0) * pattern.heads * q.rows * keys;
    }
    double product_flops() const { return 2 * scores() * width(); }
    double value_product_flops() const { return 2 * scores() * value_width(); }
};

template <class T>
struct Attention {
    static constexpr const char* kName = "attention";
    static constexpr bool kMayFail = true;
    AttentionInputs<T> in;
    MatrixView<T> out;          // (rows, heads * d_v)
    MatrixView<T> log_sum_exp;  // (rows, heads)

    template <class Visitor>
    void visit(Visitor&& v) const {
        in.visit(v), v(kWrite, "out", out), v(kWrite, "log_sum_exp", log_sum_exp);
    }

    void check() const {
        in.check(kName);
        require_rows(kName, "out", out, in.q.rows, in.out_width());
    }

    double flops() const { return in.product_flops() + in.value_product_flops() + 20 * in.scores(); }
};

template <class T>
struct AttentionBackward {
    static constexpr const char* kName = "attention_backward";
    static constexpr bool kMayFail = true;
    AttentionInputs<T> in;
    MatrixView<const T> d_y, y;       // (rows, heads * d_v)
    MatrixView<const T> log_sum_exp;  // (rows, heads)
    MatrixView<T> d_q, d_k, d_v;      // like q, k and v

    template <class Visitor>
    void visit(Visitor&& v) const {
        in.visit(v), v(kRead, "d_y", d_y), v(kRead, "y", y), v(kRead, "log_sum_exp", log_sum_exp);
        v(kWrite, "d_q", d_q), v(kWrite, "d_k", d_k), v(kWrite, "d_v", d_v);
    }

    void check() const {
        in.check(kName);
        require_rows(kName, "d_y", d_y, in.q.rows, in.out_width()), require_rows(kName, "y", y, d_y.rows, d_y.cols);
        require(log_sum_exp.rows == in.q.rows && log_sum_exp.cols == in.pattern.heads, kName, "log_sum_exp has shape ",
                shape_of(log_sum_exp), "; ", ShapeText{in.q.rows, in.pattern.heads}, " is needed");
        require_rows(kName, "d_q", d_q, in.q.rows, in.q.cols), require_rows(kName, "d_k", d_k, in.k.rows, in.k.cols);
        require_rows(kName, "d_v", d_v, in.v.rows, in.v.cols);
    }

    // A thread takes all queries of a key head, so that it alone sums the gradients of the keys.
    int64_t most_members() const { return in.pattern.queries.count * in.pattern.key_heads; }
    double flops() const { return 3 * in.product_flops() + 2 * in.value_product_flops() + 25 * in.scores(); }
};

template <class T>
struct AttentionTangent {
    static constexpr const char* kName = "attention_tangent";
    static constexpr bool kMayFail = true;
    AttentionInputs<T> in;
    MatrixView<const T> dq, dk, dv;   // like q, k and v; at least one of them
    MatrixView<const T> y;            // (rows, heads * d_v)
    MatrixView<const T> log_sum_exp;  // (rows, heads)
    MatrixView<T> out;                // (rows, heads * d_v)

    STEEPEST_HD bool changes_scores() const { return dq || dk; }

    template <class Visitor>
    void visit(Visitor&& v) const {
        in.visit(v), v(kRead, "dq", dq), v(kRead, "dk", dk), v(kRead, "dv", dv);
        v(kRead, "y", y), v(kRead, "log_sum_exp", log_sum_exp), v(kWrite, "out", out);
    }

    void check() const {
        in.check(kName);
        require(dq || dk || dv, kName, "a direction is needed: dq, dk or dv");
        require_rows(kName, "dq", dq, in.q.rows, in.q.cols), require_rows(kName, "dk", dk, in.k.rows, in.k.cols);
        require_rows(kName, "dv", dv, in.v.rows, in.v.cols);
        require_rows(kName, "y", y, in.q.rows, in.out_width()), require_rows(kName, "out", out, y.rows, y.cols);
        require(log_sum_exp.rows == in.q.rows && log_sum_exp.cols == in.pattern.heads, kName, "log_sum_exp has shape ",
                shape_of(log_sum_exp), "; ", ShapeText{in.q.rows, in.pattern.heads}, " is needed");
    }

    double flops() const {
        const int products = 1 + static_cast<bool>(dq) + static_cast<bool>(dk);
        const int value_products = static_cast<int>(changes_scores()) + static_cast<bool>(dv);
        return products * in.product_flops() + value_products * in.value_product_flops() + 25 * in.scores();
    }
};

}  // namespace steepest::ops
