#include "cpu/added_products.h"
#include "cpu/bias_activation.h"
#include "cpu/depthwise.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// The taps of one axis that reach the outputs of a phase, from the last to the first. Outputs whose position plus the
// padding leaves the remainder `phase` by the stride belong to it; their sources are neighbours. Without dilation that
// is every stride-th tap.
struct PhaseTaps {
    const TapAxis& axis;
    int64_t phase;

    bool has(int64_t tap) const { return tap * axis.dilation % axis.stride == phase; }
    // How many sources before that of a tap of offset `phase` a tap's lies.
    int64_t back(int64_t tap) const { return (tap * axis.dilation - phase) / axis.stride; }
    int64_t count() const {
        int64_t n = 0;
        for (int64_t tap = 0; tap < axis.size; ++tap) n += has(tap);
        return n;
    }
    // The first output of the phase from `begin` on.
    int64_t first(int64_t begin) const {
        const int64_t rest = (begin + axis.before) % axis.stride;
        return begin + (phase - rest + axis.stride) % axis.stride;
    }
    // The source of a tap of offset `phase`, for an output of the phase.
    int64_t source(int64_t output) const { return (output + axis.before - phase) / axis.stride; }

    template <class F>
    void for_each_from_last(F&& f) const {
        for (int64_t tap = axis.size - 1; tap >= 0; --tap)
            if (has(tap)) f(tap);
    }
};

// The transposed convolution of one thread. A stride of s divides the outputs of an axis into s phases. Within a phase,
// neighbouring outputs read neighbouring sources by the same taps, as in a convolution of stride 1.
template <class T>
class TransposedConvolution {
  public:
    static constexpr int kCols = TileShape<T>::kCols;

    TransposedConvolution(const ops::Conv2dTranspose<T>& op, Team& team)
        : op_(op),
          team_(team),
          down_(op.window.rows),
          across_(op.window.columns),
          channels_(op.groups, op.x.extent[3], op.out.extent[3]),
          columns_(sources(across_, Range{0, op.out.extent[2]})),
          bands_(bands_of(op.x.extent[0], op.out.extent[1],
                          (columns_.end - columns_.begin) * channels_.in / down_.stride + 1, sizeof(T))) {
        const int64_t taps = op.window.taps();
        const Range most = sources(down_, Range{0, bands_.height});
        const int64_t source = (most.end - most.begin + 1) * (columns_.end - columns_.begin) * channels_.in;
        const int64_t weights = taps * channels_.in * channels_.group_out;
        source_ = static_cast<T*>(team.scratch(scratch_bytes<T>(source + weights, taps)));
        weights_ = source_ + source;
        offsets_ = numbers_behind(source_, source + weights);
        pack();
    }

    // epilogue_of(image, y, x, step) is the epilogue of a row of outputs that begins at x, `step` pixels apart.
    template <class EpilogueOf>
    void run(const EpilogueOf& epilogue_of) {
        for_each_band(team_, op_.x.extent[0], op_.out.extent[1], bands_, [&](int64_t image, Range rows) {
            const Range from = sources(down_, rows);
            const ImagePart<T> part = part_of_image(op_.x, image, from, columns_, false, source_);
            const T* weights = weights_;
            for_each_phase([&](const PhaseTaps& down, const PhaseTaps& across) {
                weights = put_phase(down, across, image, rows, from.begin, part, weights, epilogue_of);
            });
        });
    }

  private:
    // All sources of some outputs along an axis.
    static Range sources(const TapAxis& axis, Range outputs) {
        return {floor_of(outputs.begin + axis.before - axis.extent() + 1, axis.stride),
                (outputs.end - 1 + axis.before) / axis.stride + 1};
    }

    // The weights in the order in which the phases read them, the outputs innermost. Each group has its own rows,
    // unless there is one weight for each tap and channel.
    void pack() const {
        const TensorView<const T>& w = op_.weight;
        T* to = weights_;
        for_each_phase([&](const PhaseTaps& down, const PhaseTaps& across) {
            for (int64_t group = 0; group < (channels_.depthwise() ? 1 : op_.groups); ++group)
                for_each_tap(down, across, [&](int64_t i, int64_t j) {
                    const T* const tap = w.data + i * w.stride[0] + j * w.stride[1];
                    if (channels_.depthwise())
                        for (int64_t c = 0; c < channels_.out; ++c) *to++ = tap[c * w.stride[3]];
                    else
                        for (int64_t k = 0; k < channels_.group_in; ++k)
                            for (int64_t c = 0; c < channels_.group_out; ++c)
                                *to++ = tap[c * w.stride[2] + (group * channels_.group_in + k) * w.stride[3]];
                });
        });
    }

    template <class F>
    void for_each_phase(F&& f) const {
        for (int64_t r = 0; r < down_.stride; ++r)
            for (int64_t q = 0; q < across_.stride; ++q) f(PhaseTaps{down_, r}, PhaseTaps{across_, q});
    }

    template <class F>
    static void for_each_tap(const PhaseTaps& down, const PhaseTaps& across, F&& f) {
        down.for_each_from_last([&](int64_t i) { across.for_each_from_last([&](int64_t j) { f(i, j); }); });
    }

    // Computes the outputs of a phase in some rows of an image; returns the end of its weights.
    template <class EpilogueOf>
    const T* put_phase(const PhaseTaps& down, const PhaseTaps& across, int64_t image, Range rows, int64_t first_source,
                       const ImagePart<T>& part, const T* weights, const EpilogueOf& epilogue_of) {
        const int64_t taps = down.count() * across.count();
        const T* const end = weights + taps * channels_.in * channels_.group_out;
        const int64_t x = across.first(0), width = op_.out.extent[2];
        if (x >= width) return end;
        TapPanel<T> panel{};
        panel.segments = segments(down, across, part.row_stride, panel.k);
        panel.step = channels_.in;
        panel.stride = channels_.depthwise() ? channels_.out : channels_.group_out;
        const int64_t column = across.source(x) - columns_.begin;
        const int64_t group_weights = taps * channels_.group_in * channels_.group_out;
        channels_.for_each_panel(kCols, [&](int64_t group, int64_t first, int width, int64_t channel) {
            panel.channel = group * channels_.group_out + first, panel.channels = width;
            panel.weights = weights + group * group_weights + first;
            for (int64_t y = down.first(rows.begin); y < rows.end; y += down_.stride) {
                const T* const at =
                    part.data + (down.source(y) - first_source) * part.row_stride + column * channels_.in + channel;
                put_row(panel, at, row_of(image, y, x), channels_.depthwise(),
                        epilogue_of(image, y, x, across_.stride));
            }
        });
        return end;
    }

    OutputRow<T> row_of(int64_t image, int64_t y, int64_t x) const {
        const TensorView<T>& out = op_.out;
        return {out.data + image * out.stride[0] + y * out.stride[1] + x * out.stride[2],
                across_.stride * out.stride[2], out.stride[3],
                (out.extent[2] - x + across_.stride - 1) / across_.stride};
    }

    // The taps of a row of the window are one segment if their sources follow one another.
    Segments segments(const PhaseTaps& down, const PhaseTaps& across, int64_t row_stride, int64_t& k) const {
        const bool joins = op_.groups == 1 && across_.stride % across_.dilation == 0;
        k = joins ? across.count() * channels_.in : channels_.group_in;
        int64_t n = 0;
        if (k == 0) return {0, offsets_};
        down.for_each_from_last([&](int64_t i) {
            int64_t in_row = 0;
            across.for_each_from_last([&](int64_t j) {
                if (joins && in_row++ > 0) return;
                offsets_[n++] = -down.back(i) * row_stride - across.back(j) * channels_.in;
            });
        });
        return {n, offsets_};
    }

    const ops::Conv2dTranspose<T>& op_;
    Team& team_;
    TapAxis down_, across_;
    ChannelGroups channels_;
    Range columns_;  // of the sources
    Bands bands_;
    T* source_;
    T* weights_;
    int64_t* offsets_;
};

// With a stride of 1, the transpose of a depthwise convolution is one whose taps are turned.
template <class T>
class TurnedConvolution {
  public:
    static bool suits(const ops::Conv2dTranspose<T>& op) {
        return walks(ChannelGroups(op.groups, op.x.extent[3], op.out.extent[3]), op.window) &&
               op.window.rows.stride == 1;
    }

    TurnedConvolution(const ops::Conv2dTranspose<T>& op, Team& team)
        : convolution_(op.x, op.weight, true, VectorView<const T>{}, op.out, turned(op.window), team) {}

    template <class EpilogueOf>
    void run(const EpilogueOf& epilogue_of) {
        convolution_.run([&](int64_t image, int64_t y) { return epilogue_of(image, y, 0, 1); });
    }

  private:
    static Taps turned(Taps window) {
        for (TapAxis* axis : {&window.rows, &window.columns}) axis->before = axis->size - 1 - axis->before;
        return window;
    }

    DepthwiseConvolution<T> convolution_;
};

template <template <class> class Way, class T>
void run_by(const ops::Conv2dTranspose<T>& op, Team& team) {
    Way<T> way(op, team);
    if (op.activation.is_identity() && !op.bias)
        return way.run([](int64_t, int64_t, int64_t, int64_t) { return NoEpilogue(); });
    if (!op.output) {
        const BiasActivation<T> epilogue = bias_activation(op.bias, op.activation);
        return way.run([&](int64_t, int64_t, int64_t, int64_t) { return epilogue; });
    }
    const TensorView<const T>& y = op.output;
    TimesDerivative<T> epilogue = times_derivative(MatrixView<const T>{}, op.activation);
    way.run([&](int64_t image, int64_t row, int64_t column, int64_t step) {
        epilogue.output = {y.data + image * y.stride[0] + row * y.stride[1] + column * y.stride[2],
                           (y.extent[2] - column + step - 1) / step, y.extent[3], step * y.stride[2], y.stride[3]};
        return epilogue;
    });
}

}  // namespace

template <class T>
void run(const ops::Conv2dTranspose<T>& op, Team& team) {
    if (op.out.size() == 0) return;
    if (AddedProducts<T>::suits(op)) return run_by<AddedProducts>(op, team);
    if (TurnedConvolution<T>::suits(op)) return run_by<TurnedConvolution>(op, team);
    run_by<TransposedConvolution>(op, team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Conv2dTranspose)
