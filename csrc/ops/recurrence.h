// A recurrent layer over whole sequences: step after step, h = cell(x W + b, h' U). The products x W + b of all steps are
// computed before, by one large product; what is left is a loop over steps. Sequences are spans of rows, so that none is
// padded.
#pragma once

#include "common/recurrent_cells.h"
#include "common/spans.h"
#include "ops/contract.h"

namespace steepest::ops {

// What the three operations below have to agree on.
template <class T>
struct RecurrentLayer {
    CellKind cell;
    MatrixView<const T> weight;  // U, (units, gates * units)
    VectorView<const T> bias;    // b_q of the GRU, (units,), or absent
    MatrixView<const T> h0, c0;  // states before the first step, (sequences, units), or absent for zeros
    Spans spans;
    bool reverse = false;  // whether steps run from the last row of a sequence to its first

    const CellInfo& info() const { return info_of(cell); }
    STEEPEST_HD int64_t units() const { return weight.rows; }
    int64_t gate_columns() const { return weight.cols; }
    // Multiply-adds of a step are two operations, and those of a unit's functions about as many as thirty gates'.
    double flops(double products) const {
        return static_cast<double>(spans.rows) * weight.cols * (2.0 * products * weight.rows + 30);
    }

    template <class Visitor>
    void visit(Visitor&& v) const {
        v(kRead, "weight", weight), v(kRead, "bias", bias), v(kRead, "h0", h0), v(kRead, "c0", c0);
        v(kRead, "spans", spans.table);
    }

    template <class U>
    void check_rows(const char* name, const char* what, const MatrixView<U>& rows, int64_t columns) const {
        require(!rows || (rows.rows == spans.rows && rows.cols == columns), name, what, " has shape ", shape_of(rows),
                "; (", spans.rows, ", ", columns, ") is needed");
        require(!rows || rows.col_stride == 1 || rows.cols <= 1 || rows.rows == 0, name, "the rows of ", what,
                " must be contiguous");
    }
    template <class U>
    void check_states(const char* name, const char* what, const MatrixView<U>& states) const {
        require(!states || (states.rows == spans.count && states.cols == units()), name, what, " has shape ",
                shape_of(states), "; (", spans.count, ", ", units(), ") is needed");
    }
    void check(const char* name) const {
        require(weight.cols == info().gates * weight.rows, name, "weight has shape ", shape_of(weight), "; (units, ",
                info().gates, " * units) is needed for cell '", info().name, "'");
        require(!bias || info().has_inner_bias, name, "cell '", info().name,
                "' takes no bias beside that of its inputs");
        require(!bias || bias.size == units(), name, "bias has shape ", shape_of(bias), "; (", units(), ",) is needed");
        require(!c0 || info().has_cell_state, name, "cell '", info().name, "' has no state c");
        check_states(name, "h0", h0), check_states(name, "c0", c0);
    }
};

// The states of all steps.
template <class T>
struct Recurrence {
    static constexpr const char* kName = "recurrence";
    static constexpr bool kMayFail = true;
    RecurrentLayer<T> layer;
    MatrixView<T> gates;           // (rows, gates * units): products of the inputs become the gates' values
    MatrixView<T> out;             // (rows, units), the hidden states
    MatrixView<T> kept;            // (rows, units), what the cell keeps for its derivatives, or absent
    MatrixView<T> h_last, c_last;  // (sequences, units), the states after the last step, or absent

    template <class Visitor>
    void visit(Visitor&& v) const {
        layer.visit(v);
        v(kUpdate, "gates", gates), v(kWrite, "out", out), v(kWrite, "kept", kept);
        v(kWrite, "h_last", h_last), v(kWrite, "c_last", c_last);
    }

    void check() const {
        layer.check(kName);
        layer.check_rows(kName, "gates", gates, layer.gate_columns());
        layer.check_rows(kName, "out", out, layer.units()), layer.check_rows(kName, "kept", kept, layer.units());
        layer.check_states(kName, "h_last", h_last), layer.check_states(kName, "c_last", c_last);
        require(!c_last || layer.info().has_cell_state, kName, "cell '", layer.info().name, "' has no state c");
    }

    double flops() const { return layer.flops(1); }
    int64_t most_members() const { return layer.spans.count; }
};

// The gradients of the sums of all steps, from those of the hidden states and of the last states. The gradients of the
// weights are large products of these: W' d_gates of the inputs, and of `before` for U.
template <class T>
struct RecurrenceBackward {
    static constexpr const char* kName = "recurrence_backward";
    static constexpr bool kMayFail = true;
    RecurrentLayer<T> layer;
    MatrixView<const T> gates, out, kept;    // as `Recurrence` left them
    MatrixView<const T> d_out;               // (rows, units), or absent
    MatrixView<const T> d_h_last, d_c_last;  // (sequences, units), or absent
    MatrixView<T> d_gates;                   // (rows, gates * units), the gradients of x W + b
    MatrixView<T> before;                    // (rows, units), the hidden state before each step
    MatrixView<T> inner;                     // (rows, units): the GRU's gradient of q or, resetting first, r h'
    MatrixView<T> d_h0, d_c0;                // (sequences, units), or absent

    template <class Visitor>
    void visit(Visitor&& v) const {
        layer.visit(v);
        v(kRead, "gates", gates), v(kRead, "out", out), v(kRead, "kept", kept), v(kRead, "d_out", d_out);
        v(kRead, "d_h_last", d_h_last), v(kRead, "d_c_last", d_c_last);
        v(kWrite, "d_gates", d_gates), v(kWrite, "before", before), v(kWrite, "inner", inner);
        v(kWrite, "d_h0", d_h0), v(kWrite, "d_c0", d_c0);
    }

    void check() const {
        const int64_t units = layer.units();
        layer.check(kName);
        layer.check_rows(kName, "gates", gates, layer.gate_columns());
        layer.check_rows(kName, "d_gates", d_gates, layer.gate_columns());
        layer.check_rows(kName, "out", out, units), layer.check_rows(kName, "kept", kept, units);
        layer.check_rows(kName, "d_out", d_out, units), layer.check_rows(kName, "before", before, units);
        layer.check_rows(kName, "inner", inner, units);
        layer.check_states(kName, "d_h_last", d_h_last), layer.check_states(kName, "d_c_last", d_c_last);
        layer.check_states(kName, "d_h0", d_h0), layer.check_states(kName, "d_c0", d_c0);
        const CellInfo& info = layer.info();
        require(!info.keeps || kept, kName, "cell '", info.name, "' needs what the forward pass has kept");
        require(inner || !(info.has_inner_bias || info.resets_first), kName, "cell '", info.name, "' needs inner");
        require(!(d_c_last || d_c0) || info.has_cell_state, kName, "cell '", info.name, "' has no state c");
    }

    double flops() const { return layer.flops(1); }
    int64_t most_members() const { return layer.spans.count; }
};

// How the hidden states change: with the sums x W + b, whose change `moved` holds, and with U, b_q and the first states.
template <class T>
struct RecurrenceTangent {
    static constexpr const char* kName = "recurrence_tangent";
    static constexpr bool kMayFail = true;
    RecurrentLayer<T> layer;
    MatrixView<const T> gates, out, kept;
    MatrixView<const T> moved;                 // (rows, gates * units), or absent
    MatrixView<const T> moved_weight;          // of weight's shape, or absent
    VectorView<const T> moved_bias;            // (units,), or absent
    MatrixView<const T> moved_h0, moved_c0;    // (sequences, units), or absent
    MatrixView<T> moved_out;                   // (rows, units)
    MatrixView<T> moved_h_last, moved_c_last;  // (sequences, units), or absent

    template <class Visitor>
    void visit(Visitor&& v) const {
        layer.visit(v);
        v(kRead, "gates", gates), v(kRead, "out", out), v(kRead, "kept", kept), v(kRead, "moved", moved);
        v(kRead, "moved_weight", moved_weight), v(kRead, "moved_bias", moved_bias);
        v(kRead, "moved_h0", moved_h0), v(kRead, "moved_c0", moved_c0);
        v(kWrite, "moved_out", moved_out), v(kWrite, "moved_h_last", moved_h_last);
        v(kWrite, "moved_c_last", moved_c_last);
    }

    void check() const {
        const int64_t units = layer.units();
        layer.check(kName);
        layer.check_rows(kName, "gates", gates, layer.gate_columns());
        layer.check_rows(kName, "moved", moved, layer.gate_columns());
        layer.check_rows(kName, "out", out, units), layer.check_rows(kName, "kept", kept, units);
        layer.check_rows(kName, "moved_out", moved_out, units);
        if (moved_weight) require_same_shape(kName, "moved_weight", moved_weight, "weight", layer.weight);
        require(!moved_bias || (layer.info().has_inner_bias && moved_bias.size == units), kName,
                "moved_bias has shape ", shape_of(moved_bias), ", but there is no such bias, or it has another shape");
        layer.check_states(kName, "moved_h0", moved_h0), layer.check_states(kName, "moved_c0", moved_c0);
        layer.check_states(kName, "moved_h_last", moved_h_last);
        layer.check_states(kName, "moved_c_last", moved_c_last);
        const CellInfo& info = layer.info();
        require(!info.keeps || kept, kName, "cell '", info.name, "' needs what the forward pass has kept");
        require(!(moved_c0 || moved_c_last) || info.has_cell_state, kName, "cell '", info.name, "' has no state c");
    }

    double flops() const { return layer.flops(moved_weight ? 2 : 1); }
    int64_t most_members() const { return layer.spans.count; }
};

}  // namespace steepest::ops
