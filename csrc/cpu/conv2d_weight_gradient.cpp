#include "cpu/image_rows.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kPlacesAtOnce = 512;  // places whose products are summed in registers

// The sums of one thread over chunks of images: for each row of taps, the products of the sources, as columns, with the
// gradients of the outputs, as rows.
template <class T>
class WeightGradient {
  public:
    static constexpr int kRows = TileShape<T>::kRows, kCols = TileShape<T>::kCols;

    WeightGradient(const ops::Conv2dWeightGradient<T>& op, Team& team)
        : op_(op),
          team_(team),
          down_(op.window.rows),
          across_(op.window.columns),
          in_(op.x.extent[3]),
          out_(op.d_out.extent[3]),
          height_(op.d_out.extent[1]),
          width_(op.d_out.extent[2]),
          group_in_(in_ / op.groups),
          group_out_(out_ / op.groups),
          is_depthwise_(op.groups > 1 && group_in_ == 1 && group_out_ == 1),
          joins_taps_(op.groups == 1 && across_.dilation == 1),
          columns_{across_.first(0), across_.first(width_ - 1) + across_.extent()},
          chunks_(op.chunks()),
          totals_(reinterpret_cast<T*>(op.workspace.data)) {
        const int64_t rows = width_ < kPlacesAtOnce ? kPlacesAtOnce / width_ : 1;
        band_ = rows < height_ ? rows : height_;
        const int64_t sources = ((band_ - 1) * down_.stride + 1) * (columns_.end - columns_.begin) * in_;
        const int64_t gradients = band_ * width_ * out_;
        source_ = static_cast<T*>(team.scratch((sources + gradients) * sizeof(T) + band_ * sizeof(int64_t) + 64));
        gradient_ = source_ + sources;
        offsets_ = reinterpret_cast<int64_t*>(source_ + (sources + gradients + 1) / 2 * 2);
    }

    void sum() {
        const Range mine = team_.split(chunks_ * down_.size, 1);
        for (int64_t unit = mine.begin; unit < mine.end; ++unit) {
            const int64_t chunk = unit / down_.size, i = unit % down_.size;
            sum_chunk(chunk, i);
        }
    }

    // Adds up the chunks, in order. All have been summed before.
    void finish() const {
        const TensorView<const T>& w = op_.weight;
        const int64_t items = w.size();
        const Range mine = team_.split(items + out_, 1024);
        for (int64_t item = mine.begin; item < mine.end; ++item) {
            T sum = 0;
            for (int64_t chunk = 0; chunk < chunks_; ++chunk) sum += total(chunk)[item];
            if (item >= items) {
                if (op_.d_bias) put(op_.d_bias[item - items], sum);
                continue;
            }
            int64_t rest = item, of_weight = 0, of_gradient = 0;
            for (int d = 3; d >= 0; --d) {
                of_weight += rest % w.extent[d] * w.stride[d],
                    of_gradient += rest % w.extent[d] * op_.d_weight.stride[d];
                rest /= w.extent[d];
            }
            if (op_.l2 != 0) sum += static_cast<T>(op_.l2) * w.data[of_weight];
            put(op_.d_weight.data[of_gradient], sum);
        }
    }

  private:
    T* total(int64_t chunk) const { return totals_ + chunk * op_.chunk_items(); }

    void put(T& item, T sum) const { item = op_.accumulate ? item + sum : sum; }

    void sum_chunk(int64_t chunk, int64_t i) {
        const int64_t images = op_.x.extent[0], first = images * chunk / chunks_, end = images * (chunk + 1) / chunks_;
        const int64_t row_items = across_.size * group_in_ * out_;
        T* const to = total(chunk) + i * row_items;
        T* const bias = total(chunk) + op_.weight.size();
        for (int64_t item = 0; item < row_items; ++item) to[item] = T(0);
        if (i == 0)
            for (int64_t k = 0; k < out_; ++k) bias[k] = T(0);
        for (int64_t image = first; image < end; ++image) {
            team_.checkpoint();
            for (int64_t y = 0; y < height_; y += band_) {
                const Range rows{y, height_ - y < band_ ? height_ : y + band_};
                const ImagePart<T> d = part_of_image(op_.d_out, image, rows, Range{0, width_}, true, gradient_);
                if (i == 0 && op_.d_bias) add_rows(d.data, (rows.end - rows.begin) * width_, bias);
                add_products(image, i, rows, d.data, to);
            }
        }
    }

    // Sums rows of gradients into those of the bias.
    void add_rows(const T* d, int64_t places, T* bias) const {
        using V = Vec<T>;
        for_each_vector<T>(0, out_, [&](int64_t j, int lanes) {
            V even(0), odd(0);
            int64_t p = 0;
            for (; p + 2 <= places; p += 2) {
                even = even + load_items(d + p * out_ + j, 1, lanes);
                odd = odd + load_items(d + (p + 1) * out_ + j, 1, lanes);
            }
            if (p < places) even = even + load_items(d + p * out_ + j, 1, lanes);
            store_items(load_items(bias + j, 1, lanes) + (even + odd), bias + j, 1, lanes);
        });
    }

    void add_products(int64_t image, int64_t i, Range rows, const T* d, T* to) {
        const int64_t begin = down_.first(rows.begin) + i * down_.dilation, n = rows.end - rows.begin;
        const Range sources{begin, begin + (n - 1) * down_.stride + 1};
        const ImagePart<T> part = part_of_image(op_.x, image, sources, columns_, false, source_);
        for (int64_t s = 0; s < n; ++s) offsets_[s] = s * down_.stride * part.row_stride;
        const Segments segments{n, offsets_};
        const int64_t taps = joins_taps_ ? 1 : across_.size;
        for (int64_t j = 0; j < taps; ++j) {
            const T* const source = part.data + j * across_.dilation * in_;
            T* const of_tap = to + j * group_in_ * out_;
            if (is_depthwise_)
                add_depthwise(source, segments, d, of_tap);
            else
                for (int64_t group = 0; group < op_.groups; ++group)
                    add_group(source + group * group_in_, segments, d + group * group_out_,
                              of_tap + group * group_out_);
        }
    }

    void add_group(const T* source, const Segments& segments, const T* d, T* to) const {
        const int64_t height = joins_taps_ ? across_.size * in_ : group_in_;
        const int64_t tiles = (height + kRows - 1) / kRows;
        for (int64_t j = 0; j < group_out_; j += kCols) {
            const int cols = static_cast<int>(group_out_ - j < kCols ? group_out_ - j : kCols);
            for (int64_t t = 0; t < tiles; ++t) {
                const int64_t m = height * t / tiles;
                const int rows = static_cast<int>(height * (t + 1) / tiles - m);
                multiply_tile(rows, cols, width_, source + m, 1, across_.stride * in_, d + j, out_, to + m * out_ + j,
                              out_, true, false, segments);
            }
        }
    }

    void add_depthwise(const T* source, const Segments& segments, const T* d, T* to) const {
        using V = Vec<T>;
        for_each_vector<T>(0, out_, [&](int64_t j, int lanes) {
            V even(0), odd(0);
            for (int64_t s = 0; s < segments.count; ++s) {
                const T* const from = source + segments.offset[s] + j;
                const T* const gradients = d + s * width_ * out_ + j;
                const auto product = [&](int64_t p, V sum) {
                    return fma(load_items(from + p * across_.stride * in_, 1, lanes),
                               load_items(gradients + p * out_, 1, lanes), sum);
                };
                int64_t p = 0;
                for (; p + 2 <= width_; p += 2) even = product(p, even), odd = product(p + 1, odd);
                if (p < width_) even = product(p, even);
            }
            store_items(load_items(to + j, 1, lanes) + (even + odd), to + j, 1, lanes);
        });
    }

    const ops::Conv2dWeightGradient<T>& op_;
    Team& team_;
    TapAxis down_, across_;
    int64_t in_, out_, height_, width_, group_in_, group_out_;
    bool is_depthwise_, joins_taps_;
    Range columns_;  // of the sources
    int64_t chunks_, band_ = 1;
    T* totals_;
    T *source_, *gradient_;
    int64_t* offsets_;
};

}  // namespace

template <class T>
void run(const ops::Conv2dWeightGradient<T>& op, Team& team) {
    if (op.weight.size() == 0) return;
    WeightGradient<T> gradient(op, team);
    gradient.sum();
    team.barrier();  // all chunks are summed
    gradient.finish();
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Conv2dWeightGradient)
