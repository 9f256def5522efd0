#include "common/augmentation.h"
#include "cpu/row_indices.h"
#include "cpu/rows.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kGrain = 4096;  // smallest number of items that a thread takes

template <class T>
STEEPEST_HD Vec<T> load_pixels(const uint8_t* p, int lanes) {
    return load_bytes<T>(p, lanes);
}
template <class T>
STEEPEST_HD Vec<T> load_pixels(const T* p, int lanes) {
    return lanes == Vec<T>::kSize ? Vec<T>::load(p) : Vec<T>::load(p, lanes);
}

// The numbers of the channels, repeated so often that a vector may begin with any channel.
template <class T>
struct ChannelPattern {
    static constexpr int kSize = Vec<T>::kSize;
    T item[ops::kMostChannels + kSize];

    ChannelPattern(const ops::ChannelNumbers<T>& numbers, int64_t period) {
        for (int64_t j = 0; j < period + kSize; ++j) item[j] = numbers.of(j % period);
    }
    STEEPEST_HD Vec<T> from(int64_t channel) const { return Vec<T>::load(item + channel); }
};

// Converts runs of pixels of c channels, forwards or in reverse order.
template <class T, class S>
class Converter {
    using V = Vec<T>;
    static constexpr int kSize = V::kSize;

  public:
    Converter(const ops::TakeImages<T>& op, int64_t channels)
        : channels_(channels),
          period_(op.scale.count > 1 || op.offset.count > 1 ? channels : 1),
          scale_(op.scale, period_),
          offset_(op.offset, period_),
          pixels_of_vector_(kSize / channels),
          last_reversed_(reversing(channels, pixels_of_vector_, kSize - pixels_of_vector_ * channels).lane),
          first_reversed_(reversing(channels, pixels_of_vector_, 0).lane) {}

    // n items, of which the first belongs to channel 0.
    STEEPEST_HD void forwards(const S* from, T* to, int64_t n) const {
        const V scale = scale_.from(0), offset = offset_.from(0);
        if (n < kSize) {
            const int lanes = static_cast<int>(n);
            return converted(load_pixels<T>(from, lanes), scale, offset).store(to, lanes);
        }
        int64_t j = 0;
        if (period_ == 1) {
            for (; j + kSize <= n; j += kSize) converted(load_pixels<T>(from + j, kSize), scale, offset).store(to + j);
        } else {
            const int64_t period = period_, step = kSize % period;
            for (int64_t channel = 0; j + kSize <= n; j += kSize) {
                vector(from + j, channel).store(to + j);
                channel += channel + step < period ? step : step - period;
            }
        }
        // The last vector ends with the run, and computes some items twice.
        if (j < n) vector(from + n - kSize, (n - kSize) % period_).store(to + n - kSize);
    }

    STEEPEST_HD void backwards(const S* from, T* to, int64_t pixels) const {
        const int64_t c = channels_, n = pixels_of_vector_;
        if (n == 0 || pixels * c < kSize) {
            for (int64_t p = pixels - 1; p >= 0; --p, to += c) forwards(from + p * c, to, c);
            return;
        }
        const Picker<T> last_reversed = last_reversed_;
        const int64_t channel = period_ == 1 ? 0 : (c - (kSize - n * c) % c) % c;
        const V scale = scale_.from(channel), offset = offset_.from(channel);
        T* const end = to + pixels * c;
        int64_t left = pixels;  // of those before the pixels that are written
        // A vector that ends with the last of these pixels is loaded. What it holds beside whole pixels is written, too,
        // and then overwritten.
        for (; left * c >= kSize; left -= n, to += n * c) {
            const V items = converted(load_pixels<T>(from + left * c - kSize, kSize), scale, offset);
            last_reversed(items, items).store(to);
        }
        if (left <= 0) return;
        const V items = vector(from, 0);
        first_reversed_(items, items).store(end - n * c, static_cast<int>(n * c));
    }

  private:
    STEEPEST_HD V vector(const S* from, int64_t channel) const {
        return converted(load_pixels<T>(from, kSize), scale_.from(channel), offset_.from(channel));
    }

    struct LaneNumbers {
        int32_t lane[kSize];
    };
    // Lanes of the whole pixels that begin with lane `first` of a vector, the last pixel first.
    static LaneNumbers reversing(int64_t channels, int64_t pixels, int64_t first) {
        LaneNumbers numbers{};
        for (int64_t p = 0; p < pixels; ++p)
            for (int64_t k = 0; k < channels; ++k)
                numbers.lane[p * channels + k] = static_cast<int32_t>(first + (pixels - 1 - p) * channels + k);
        return numbers;
    }

    int64_t channels_, period_;
    ChannelPattern<T> scale_, offset_;
    int64_t pixels_of_vector_;
    Picker<T> last_reversed_, first_reversed_;  // of the last and of the first pixels of a vector
};

template <class T>
STEEPEST_HD void fill_items(T* to, int64_t n, T fill) {
    for (int64_t j = 0; j < n; ++j) to[j] = fill;
}

// Whether the items of a row of pixels follow one another.
template <class S>
bool has_runs(const TensorView<S>& images) {
    return (images.extent[3] == 1 || images.stride[3] == 1) &&
           (images.extent[2] <= 1 || images.stride[2] == images.extent[3]);
}

// Images whose rows follow one another have a single row.
template <class S>
bool joins_rows(const TensorView<S>& images) {
    return has_runs(images) && (images.extent[1] <= 1 || images.stride[1] == images.extent[2] * images.extent[3]);
}
template <class S>
void join_rows(TensorView<S>& images) {
    images.extent[2] *= images.extent[1], images.extent[1] = 1;
    images.stride[2] = images.extent[3], images.stride[3] = 1;
}

// An image of the result: where its pixels come from, and which of its columns lie within the image.
template <class S>
struct Window {
    const S* image;
    ImagePlacement at;
    int64_t first, end;  // columns, before the flip
};

// Writes rows of the result, before they are mixed.
template <class T, class S>
struct RowWriter {
    TensorView<const S> images;
    int64_t out_rows, out_columns;
    Converter<T, S> convert;
    T fill;
    S* gathered;  // room for a row of an image, or null if the images have runs

    Window<S> window(int64_t image, const ImagePlacement& at) const {
        return {images.data + image * images.stride[0], at, clipped(-at.left, out_columns),
                clipped(images.extent[2] - at.left, out_columns)};
    }

    // Items of a number of pixels of a row, contiguous.
    STEEPEST_HD const S* run(const S* from, int64_t pixels) const {
        if (!gathered) return from;
        const int64_t c = images.extent[3];
        for (int64_t x = 0; x < pixels; ++x)
            for (int64_t k = 0; k < c; ++k) gathered[x * c + k] = from[x * images.stride[2] + k * images.stride[3]];
        return gathered;
    }

    STEEPEST_HD void operator()(const Window<S>& window, int64_t y, T* to) const {
        const ImagePlacement& at = window.at;
        const int64_t c = images.extent[3], pixels = window.end - window.first;
        const int64_t row = at.top + (at.flips_rows ? out_rows - 1 - y : y);
        if (row < 0 || row >= images.extent[1] || pixels <= 0) {
            fill_items(to, out_columns * c, fill);
        } else {
            const S* const from =
                run(window.image + row * images.stride[1] + (at.left + window.first) * images.stride[2], pixels);
            const int64_t before = at.flips_columns ? out_columns - window.end : window.first;
            fill_items(to, before * c, fill);
            if (at.flips_columns)
                convert.backwards(from, to + before * c, pixels);
            else
                convert.forwards(from, to + before * c, pixels * c);
            fill_items(to + (before + pixels) * c, (out_columns - before - pixels) * c, fill);
        }
        if (at.cuts_row(y)) fill_items(to + at.cut_left * c, (at.cut_right - at.cut_left) * c, fill);
    }
};

// own = own weight + next (1 - weight)
template <class T>
STEEPEST_HD void mix_row(T* own, const T* next, int64_t n, T weight) {
    const Vec<T> own_weight(weight), next_weight(1 - weight);
    for_each_vector<T>(0, n, [&](int64_t j, int lanes) {
        const Vec<T> both =
            mixed(load_items(own + j, 1, lanes), load_items(next + j, 1, lanes), own_weight, next_weight);
        store_items(both, own + j, 1, lanes);
    });
}

template <class T, class S>
void take(const ops::TakeImages<T>& op, TensorView<const S> images, Team& team) {
    TensorView<T> out = op.out;
    const RowIndices taken{op.rows, {nullptr, op.start.get()}, out.extent[0], images.extent[0], number_of(op)};
    if (!check_rows(taken, team)) return;
    if (out.size() == 0) return;
    const bool whole = out.extent[1] == images.extent[1] && out.extent[2] == images.extent[2];
    if (whole && !op.rules.is_random && joins_rows(images) && joins_rows(out)) join_rows(images), join_rows(out);

    const int64_t n = out.extent[0], h = out.extent[1], w = out.extent[2], items = w * out.extent[3];
    const int64_t image_items = images.extent[2] * images.extent[3];
    const bool gathers = !has_runs(images), scatters = !has_runs(out);
    // A row of the next image, one of the result, and one of an image.
    auto* const next_row =
        static_cast<T*>(team.scratch(2 * items * sizeof(T) + (gathers ? image_items * sizeof(S) : 0)));
    T* const own_row = next_row + items;
    const RowWriter<T, S> write{
        images, h, w, {op, images.extent[3]}, op.fill, gathers ? reinterpret_cast<S*>(own_row + items) : nullptr};
    const int64_t start = op.start.get(), stream = op.stream.get();
    const auto window_of = [&](int64_t i) {
        const ImageShape image{images.extent[1], images.extent[2]};
        return write.window(taken.index_of(i), place_image(op.rules, stream, start + i, image, {h, w}));
    };

    const Range mine = team.split(n * h, 1 + kGrain / items);
    for (int64_t r = mine.begin; r < mine.end;) {
        const int64_t i = r / h, first = r - i * h, end = mine.end - i * h < h ? mine.end - i * h : h;
        r += end - first;
        if (i + kRowsAhead < n)
            fetch_row(images.data + taken.index_of(i + kRowsAhead) * images.stride[0],
                      images.extent[1] * image_items * static_cast<int64_t>(sizeof(S)));
        const Window<S> own = window_of(i);
        Window<S> next{};
        T weight(1);
        if (op.mixes()) {
            next = window_of(i + 1 < n ? i + 1 : 0);
            weight = static_cast<T>(mixing_weight(op.rules, stream, start + i));
            if (first == 0) op.mix_weights[i] = weight;
        }
        for (int64_t y = first; y < end; ++y) {
            T* const at = out.data + i * out.stride[0] + y * out.stride[1];
            T* const to = scatters ? own_row : at;
            write(own, y, to);
            if (op.mixes()) write(next, y, next_row), mix_row(to, next_row, items, weight);
            if (!scatters) continue;
            for (int64_t x = 0; x < w; ++x)
                for (int64_t k = 0; k < out.extent[3]; ++k)
                    at[x * out.stride[2] + k * out.stride[3]] = own_row[x * out.extent[3] + k];
        }
    }
}

}  // namespace

template <class T>
void run(const ops::TakeImages<T>& op, Team& team) {
    if (op.pixels) return take(op, op.pixels, team);
    take(op, op.images, team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(TakeImages)
