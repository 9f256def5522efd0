#include "cpu/depthwise.h"
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
          channels_(op.groups, op.x.extent[3], op.d_out.extent[3]),
          height_(op.d_out.extent[1]),
          width_(op.d_out.extent[2]),
          joins_taps_(op.groups == 1 && across_.dilation == 1),
          columns_{across_.first(0), across_.first(width_ - 1) + across_.extent()},
          chunks_(op.chunks()),
          totals_(reinterpret_cast<T*>(op.workspace.data)) {
        const int64_t rows = width_ < kPlacesAtOnce ? kPlacesAtOnce / width_ : 1;
        band_ = rows < height_ ? rows : height_;
        const int64_t sources = ((band_ - 1) * down_.stride + 1) * (columns_.end - columns_.begin) * channels_.in;
        const int64_t gradients = band_ * width_ * channels_.out;
        source_ = static_cast<T*>(team.scratch(scratch_bytes<T>(sources + gradients, band_)));
        gradient_ = source_ + sources;
        offsets_ = numbers_behind(source_, sources + gradients);
    }

    void sum() {
        if (walks(channels_, op_.window)) return sum_depthwise();
        const Range mine = team_.split(chunks_ * down_.size, 1);
        for (int64_t unit = mine.begin; unit < mine.end; ++unit) {
            const int64_t chunk = unit / down_.size, i = unit % down_.size;
            sum_chunk(chunk, i);
        }
    }

    // Adds up the chunks, in order. All have been summed before.
    void finish() const {
        const int64_t items = op_.weight.size();
        const Range mine = team_.split(items + channels_.out, 1024);
        T* const sums = total(0);
        for_each_vector<T>(mine.begin, mine.end, [&](int64_t item, int lanes) {
            Vec<T> sum = load_items(sums + item, 1, lanes);
            for (int64_t chunk = 1; chunk < chunks_; ++chunk) sum = sum + load_items(total(chunk) + item, 1, lanes);
            store_items(sum, sums + item, 1, lanes);
        });
        put_weights(sums, {mine.begin, mine.end < items ? mine.end : items});
        for (int64_t item = mine.begin > items ? mine.begin : items; item < mine.end; ++item)
            put(op_.d_bias[item - items], sums[item]);
    }

  private:
    T* total(int64_t chunk) const { return totals_ + chunk * op_.chunk_items(); }

    void put(T& item, T sum) const { item = op_.accumulate ? item + sum : sum; }

    // Writes items of the weights' gradient, with that of the penalty.
    void put_weights(const T* sums, Range mine) const {
        const TensorView<const T>& w = op_.weight;
        const TensorView<T>& d_w = op_.d_weight;
        const T l2 = static_cast<T>(op_.l2);
        if (is_dense(d_w) && is_dense(w)) {
            for (int64_t item = mine.begin; item < mine.end; ++item)
                put(d_w.data[item], l2 == 0 ? sums[item] : sums[item] + l2 * w.data[item]);
            return;
        }
        for (int64_t item = mine.begin; item < mine.end; ++item) {
            int64_t rest = item, of_weight = 0, of_gradient = 0;
            for (int d = 3; d >= 0; rest /= w.extent[d], --d)
                of_weight += rest % w.extent[d] * w.stride[d], of_gradient += rest % w.extent[d] * d_w.stride[d];
            put(d_w.data[of_gradient], l2 == 0 ? sums[item] : sums[item] + l2 * w.data[of_weight]);
        }
    }

    Range images_of(int64_t chunk) const {
        const int64_t images = op_.x.extent[0];
        return {images * chunk / chunks_, images * (chunk + 1) / chunks_};
    }

    // Few chunks are shared out by vectors of channels, whose sums are independent.
    void sum_depthwise() {
        constexpr int kSize = Vec<T>::kSize;
        const int64_t image = WalkedImage<T>::scratch_items(op_.x, op_.window, kWalkedRows);
        const int64_t gradients = kWalkedRows * width_ * channels_.out;
        T* const scratch = static_cast<T*>(team_.scratch(scratch_bytes<T>(image + gradients, 0)));
        WalkedImage<T> sources(op_.x, op_.window, scratch);
        gradient_ = scratch + image;
        const int64_t vectors = (channels_.out + kSize - 1) / kSize;
        const int64_t parts = chunks_ < ops::Conv2dWeightGradient<T>::kMostChunks ? vectors : 1;
        const Range mine = team_.split(chunks_ * parts, 1);
        for (int64_t unit = mine.begin; unit < mine.end; ++unit) {
            const int64_t part = unit % parts, end = vectors * (part + 1) / parts * kSize;
            sum_walks(unit / parts, {vectors * part / parts * kSize, end < channels_.out ? end : channels_.out},
                      sources);
        }
    }

    // Sums a chunk of images for some of the channels.
    void sum_walks(int64_t chunk, Range channels, WalkedImage<T>& sources) {
        T* const to = total(chunk);
        T* const bias = to + op_.weight.size();
        for (int64_t t = 0; t <= op_.window.taps(); ++t)
            for (int64_t c = channels.begin; c < channels.end; ++c) to[t * channels_.out + c] = T(0);
        Walk<T> walk{across_.size, across_.stride, 0, width_, 0, channels_.out};
        const Range images = images_of(chunk);
        for (int64_t image = images.begin; image < images.end; ++image) {
            team_.checkpoint();
            for_walked_rows({0, height_}, walk.size, [&](int64_t y, int n) {
                const Range rows{y, y + n};
                const ImagePart<T> d = part_of_image(op_.d_out, image, rows, Range{0, width_}, false, gradient_);
                sources.take(image, rows);
                walk.rows = n;
                for_each_vector<T>(channels.begin, channels.end, [&](int64_t c, int lanes) {
                    walk.lanes = lanes;
                    walk_gradients(walk, sources.sources(y, n, c),
                                   PixelRows<const T>{d.data + c, d.row_stride, channels_.out}, to + c, bias + c);
                });
            });
        }
    }

    void sum_chunk(int64_t chunk, int64_t i) {
        const Range images = images_of(chunk);
        const int64_t row_items = across_.size * channels_.group_in * channels_.out;
        T* const to = total(chunk) + i * row_items;
        T* const bias = total(chunk) + op_.weight.size();
        for (int64_t item = 0; item < row_items; ++item) to[item] = T(0);
        if (i == 0)
            for (int64_t k = 0; k < channels_.out; ++k) bias[k] = T(0);
        for (int64_t image = images.begin; image < images.end; ++image) {
            team_.checkpoint();
            for (int64_t y = 0; y < height_; y += band_) {
                const Range rows{y, height_ - y < band_ ? height_ : y + band_};
                const ImagePart<T> d = part_of_image(op_.d_out, image, rows, Range{0, width_}, true, gradient_);
                if (i == 0) add_rows(d.data, (rows.end - rows.begin) * width_, bias);
                add_products(image, i, rows, d.data, to);
            }
        }
    }

    // Sums rows of gradients into those of the bias.
    void add_rows(const T* d, int64_t places, T* bias) const {
        using V = Vec<T>;
        for_each_vector<T>(0, channels_.out, [&](int64_t j, int lanes) {
            V even(0), odd(0);
            int64_t p = 0;
            for (; p + 2 <= places; p += 2) {
                even = even + load_items(d + p * channels_.out + j, 1, lanes);
                odd = odd + load_items(d + (p + 1) * channels_.out + j, 1, lanes);
            }
            if (p < places) even = even + load_items(d + p * channels_.out + j, 1, lanes);
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
            const T* const source = part.data + j * across_.dilation * channels_.in;
            T* const of_tap = to + j * channels_.group_in * channels_.out;
            if (channels_.depthwise())
                add_depthwise(source, segments, d, of_tap);
            else
                for (int64_t group = 0; group < op_.groups; ++group)
                    add_group(source + group * channels_.group_in, segments, d + group * channels_.group_out,
                              of_tap + group * channels_.group_out);
        }
    }

    void add_group(const T* source, const Segments& segments, const T* d, T* to) const {
        const int64_t height = joins_taps_ ? across_.size * channels_.in : channels_.group_in;
        const int64_t tiles = (height + kRows - 1) / kRows;
        for (int64_t j = 0; j < channels_.group_out; j += kCols) {
            const int cols = static_cast<int>(channels_.group_out - j < kCols ? channels_.group_out - j : kCols);
            for (int64_t t = 0; t < tiles; ++t) {
                const int64_t m = height * t / tiles;
                const int rows = static_cast<int>(height * (t + 1) / tiles - m);
                multiply_tile(rows, cols, width_, source + m, 1, across_.stride * channels_.in, d + j, channels_.out,
                              to + m * channels_.out + j, channels_.out, true, false, segments);
            }
        }
    }

    void add_depthwise(const T* source, const Segments& segments, const T* d, T* to) const {
        using V = Vec<T>;
        for_each_vector<T>(0, channels_.out, [&](int64_t j, int lanes) {
            V even(0), odd(0);
            for (int64_t s = 0; s < segments.count; ++s) {
                const T* const from = source + segments.offset[s] + j;
                const T* const gradients = d + s * width_ * channels_.out + j;
                const auto product = [&](int64_t p, V sum) {
                    return fma(load_items(from + p * across_.stride * channels_.in, 1, lanes),
                               load_items(gradients + p * channels_.out, 1, lanes), sum);
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
    ChannelGroups channels_;
    int64_t height_, width_;
    bool joins_taps_;
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
