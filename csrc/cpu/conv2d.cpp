#include "cpu/bias_activation.h"
#include "cpu/image_rows.h"
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
          in_(op.x.extent[3]),
          out_(op.out.extent[3]),
          group_in_(in_ / op.groups),
          group_out_(out_ / op.groups),
          is_depthwise_(op.groups > 1 && group_in_ == 1 && group_out_ == 1),
          joins_taps_(op.groups == 1 && window_.columns.dilation == 1),
          columns_{window_.columns.first(0), window_.columns.first(op.out.extent[2] - 1) + window_.columns.extent()},
          bands_(bands_of(op.x.extent[0], op.out.extent[1], window_.rows.stride * (columns_.end - columns_.begin) * in_,
                          sizeof(T))) {
        const int64_t taps = window_.taps();
        const int64_t source_rows = (bands_.height - 1) * window_.rows.stride + window_.rows.extent();
        const int64_t source = source_rows * (columns_.end - columns_.begin) * in_;
        const bool packs = !is_dense(op.weight);
        const int64_t weights = packs ? taps * group_in_ * out_ : 0;
        source_ = static_cast<T*>(team.scratch((source + weights) * sizeof(T) + taps * sizeof(int64_t) + 64));
        weights_ = packs ? source_ + source : op.weight.data;
        // Eight-byte numbers, behind an even number of items.
        offsets_ = reinterpret_cast<int64_t*>(source_ + (source + weights + 1) / 2 * 2);
        if (packs) pack(source_ + source);
    }

    template <class Epilogue>
    void run(const Epilogue& epilogue) {
        const Range mine = team_.split(op_.x.extent[0] * bands_.count, 1);
        for (int64_t unit = mine.begin; unit < mine.end; ++unit) {
            team_.checkpoint();
            const int64_t image = unit / bands_.count;
            put_band(image, bands_.rows(unit % bands_.count, op_.out.extent[1]), epilogue);
        }
    }

  private:
    static bool is_dense(const TensorView<const T>& w) {
        int64_t stride = 1;
        for (int d = 3; d >= 0; stride *= w.extent[d], --d)
            if (w.extent[d] != 1 && w.stride[d] != stride) return false;
        return true;
    }

    void pack(T* to) const {
        const TensorView<const T>& w = op_.weight;
        for (int64_t i = 0; i < w.extent[0]; ++i)
            for (int64_t j = 0; j < w.extent[1]; ++j)
                for (int64_t c = 0; c < w.extent[2]; ++c)
                    for (int64_t k = 0; k < w.extent[3]; ++k)
                        *to++ = w.data[i * w.stride[0] + j * w.stride[1] + c * w.stride[2] + k * w.stride[3]];
    }

    template <class Epilogue>
    void put_band(int64_t image, Range rows, const Epilogue& epilogue) {
        const TapAxis& down = window_.rows;
        const int64_t first = down.first(rows.begin);
        const Range sources{first, down.first(rows.end - 1) + down.extent()};
        const ImagePart<T> part = part_of_image(op_.x, image, sources, columns_, false, source_);
        TapPanel<T> panel{};
        panel.stride = out_, panel.step = window_.columns.stride * in_;
        panel.segments = segments(part.row_stride);
        panel.k = joins_taps_ ? window_.columns.size * in_ : group_in_;
        const int64_t in_panel = is_depthwise_ ? out_ : group_out_, panels = (in_panel + kCols - 1) / kCols;
        for (int64_t group = 0; group < (is_depthwise_ ? 1 : op_.groups); ++group) {
            for (int64_t p = 0; p < panels; ++p) {
                const int64_t left = in_panel - p * kCols;
                panel.channel = group * group_out_ + p * kCols;
                panel.channels = static_cast<int>(left < kCols ? left : kCols);
                panel.weights = weights_ + panel.channel;
                const int64_t source = is_depthwise_ ? panel.channel : group * group_in_;
                for (int64_t y = rows.begin; y < rows.end; ++y) {
                    const T* const at = part.data + (down.first(y) - first) * part.row_stride + source;
                    put_row(panel, at, row_of(image, y), is_depthwise_, epilogue);
                }
            }
        }
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
                offsets_[i * across + j] = i * window_.rows.dilation * row_stride + j * window_.columns.dilation * in_;
        return {window_.rows.size * across, offsets_};
    }

    const ops::Conv2d<T>& op_;
    Team& team_;
    Taps window_;
    int64_t in_, out_, group_in_, group_out_;
    bool is_depthwise_, joins_taps_;
    Range columns_;  // of the sources
    Bands bands_;
    T* source_;
    const T* weights_;
    int64_t* offsets_;
};

}  // namespace

template <class T>
void run(const ops::Conv2d<T>& op, Team& team) {
    if (op.out.size() == 0) return;
    Convolution<T> convolution(op, team);
    if (!op.bias && op.activation.is_identity()) return convolution.run(NoEpilogue());
    convolution.run(bias_activation(op.bias, op.activation));
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Conv2d)
