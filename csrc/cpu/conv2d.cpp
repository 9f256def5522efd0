#include "cpu/bias_activation.h"
#include "cpu/depthwise.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// The convolution of one thread.
template <class T>
class Convolution {
  public:
    static constexpr int kCols = TileShape<T>::kCols;

    Convolution(const ops::Conv2d<T>& op, Team& team)
        : op_(op),
          team_(team),
          window_(op.window),
          channels_(op.groups, op.x.extent[3], op.out.extent[3]),
          joins_taps_(op.groups == 1 && window_.columns.dilation == 1),
          columns_{window_.columns.first(0), window_.columns.first(op.out.extent[2] - 1) + window_.columns.extent()},
          bands_(bands_of(op.x.extent[0], op.out.extent[1],
                          window_.rows.stride * (columns_.end - columns_.begin) * channels_.in, sizeof(T))) {
        const int64_t taps = window_.taps();
        const int64_t source_rows = (bands_.height - 1) * window_.rows.stride + window_.rows.extent();
        const int64_t source = source_rows * (columns_.end - columns_.begin) * channels_.in;
        const bool packs = !is_dense(op.weight);
        const int64_t weights = packs ? op.weight.size() : 0, row = is_flat() ? op.out.extent[2] * channels_.out : 0;
        source_ = static_cast<T*>(team.scratch(scratch_bytes<T>(source + weights + row, taps)));
        weights_ = packs ? source_ + source : op.weight.data;
        row_bias_ = source_ + source + weights;
        offsets_ = numbers_behind(source_, source + weights + row);
        if (packs) pack(source_ + source);
    }

    // Whether the items of a row of outputs follow one another, and its pixels do not fill vectors.
    bool is_flat() const {
        const TensorView<T>& out = op_.out;
        return op_.groups == 1 && channels_.out <= kCols && channels_.out % Vec<T>::kSize != 0 && out.stride[3] == 1 &&
               out.stride[2] == channels_.out;
    }

    // The bias for each item of a row of outputs, where that is flat.
    VectorView<const T> row_bias() {
        if (!op_.bias) return op_.bias;
        const int64_t items = op_.out.extent[2] * channels_.out;
        for (int64_t i = 0; i < items; ++i) row_bias_[i] = op_.bias[i % channels_.out];
        return {row_bias_, items, 1};
    }

    // `of_tile` follows each tile while it is in the L1 cache, and `of_row` each row, as a tile of a single row.
    template <class OfTile, class OfRow>
    void run(const OfTile& of_tile, const OfRow& of_row) {
        for_each_band(team_, op_.x.extent[0], op_.out.extent[1], bands_,
                      [&](int64_t image, Range rows) { put_band(image, rows, of_tile, of_row); });
    }

  private:
    void pack(T* to) const {
        const TensorView<const T>& w = op_.weight;
        for (int64_t i = 0; i < w.extent[0]; ++i)
            for (int64_t j = 0; j < w.extent[1]; ++j)
                for (int64_t c = 0; c < w.extent[2]; ++c)
                    for (int64_t k = 0; k < w.extent[3]; ++k)
                        *to++ = w.data[i * w.stride[0] + j * w.stride[1] + c * w.stride[2] + k * w.stride[3]];
    }

    template <class OfTile, class OfRow>
    void put_band(int64_t image, Range rows, const OfTile& of_tile, const OfRow& of_row) {
        const TapAxis& down = window_.rows;
        const int64_t first = down.first(rows.begin);
        const Range sources{first, down.first(rows.end - 1) + down.extent()};
        const ImagePart<T> part = part_of_image(op_.x, image, sources, columns_, false, source_);
        TapPanel<T> panel{};
        panel.stride = channels_.out, panel.step = window_.columns.stride * channels_.in;
        panel.segments = segments(part.row_stride);
        panel.k = joins_taps_ ? window_.columns.size * channels_.in : channels_.group_in;
        channels_.for_each_panel(kCols, [&](int64_t group, int64_t first_output, int width, int64_t source) {
            panel.channel = group * channels_.group_out + first_output, panel.channels = width;
            panel.weights = weights_ + panel.channel;
            for (int64_t y = rows.begin; y < rows.end; ++y) {
                const T* const at = part.data + (down.first(y) - first) * part.row_stride + source;
                const OutputRow<T> row = row_of(image, y);
                put_row(panel, at, row, channels_.depthwise(), of_tile);
                of_row(Tile<T>{row.data, 0, 0, 1, 0, row.size * channels_.out});
            }
        });
    }

    OutputRow<T> row_of(int64_t image, int64_t y) const {
        const TensorView<T>& out = op_.out;
        return {out.data + image * out.stride[0] + y * out.stride[1], out.stride[2], out.stride[3], out.extent[2]};
    }

    // The taps of a row of the window are one segment if their sources follow one another.
    Segments segments(int64_t row_stride) const {
        const int64_t across = joins_taps_ ? 1 : window_.columns.size;
        for (int64_t i = 0; i < window_.rows.size; ++i)
            for (int64_t j = 0; j < across; ++j)
                offsets_[i * across + j] =
                    i * window_.rows.dilation * row_stride + j * window_.columns.dilation * channels_.in;
        return {window_.rows.size * across, offsets_};
    }

    const ops::Conv2d<T>& op_;
    Team& team_;
    Taps window_;
    ChannelGroups channels_;
    bool joins_taps_;
    Range columns_;  // of the sources
    Bands bands_;
    T* source_;
    const T* weights_;
    T* row_bias_;
    int64_t* offsets_;
};

template <class T>
void run_depthwise(const ops::Conv2d<T>& op, Team& team) {
    DepthwiseConvolution<T> convolution(op.x, op.weight, false, op.bias, op.out, op.window, team);
    if (op.activation.is_identity()) return convolution.run([](int64_t, int64_t) { return NoEpilogue(); });
    const BiasActivation<T> activation = bias_activation(VectorView<const T>{}, op.activation);
    convolution.run([&](int64_t, int64_t) { return activation; });
}

}  // namespace

template <class T>
void run(const ops::Conv2d<T>& op, Team& team) {
    if (op.out.size() == 0) return;
    if (walks(ChannelGroups(op.groups, op.x.extent[3], op.out.extent[3]), op.window)) return run_depthwise(op, team);
    Convolution<T> convolution(op, team);
    if (!op.bias && op.activation.is_identity()) return convolution.run(NoEpilogue(), NoEpilogue());
    if (convolution.is_flat())
        return convolution.run(NoEpilogue(), bias_activation(convolution.row_bias(), op.activation));
    convolution.run(bias_activation(op.bias, op.activation), NoEpilogue());
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Conv2d)
