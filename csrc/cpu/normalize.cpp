#include "cpu/norm_blocks.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kRunItems = 2048;  // of a row whose sums are kept in the dtype of the items

template <class T>
struct RunSums {
    Vec<T> sum{0}, product{0};
    STEEPEST_HD RunSums operator+(const RunSums& other) const { return {sum + other.sum, product + other.product}; }
};

// Adds up a run of n items by add(sums, j, lanes), in four sums whose chains of operations overlap.
template <class T, class Add>
STEEPEST_HD RunSums<T> sum_of_run(int64_t n, Add&& add) {
    constexpr int kSize = Vec<T>::kSize;
    RunSums<T> sum[4];
    int64_t j = 0;
    for (; j + 4 * kSize <= n; j += 4 * kSize) {
        add(sum[0], j, kSize), add(sum[1], j + kSize, kSize);
        add(sum[2], j + 2 * kSize, kSize), add(sum[3], j + 3 * kSize, kSize);
    }
    for (; j + kSize <= n; j += kSize) add(sum[0], j, kSize);
    if (j < n) add(sum[1], j, static_cast<int>(n - j));
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

template <class T>
STEEPEST_HD Moments moments_of_run(const T* x, int64_t n) {
    using V = Vec<T>;
    const double count = static_cast<double>(n), per_item = 1 / count;
    const V sum = sum_of_run<T>(n, [=](RunSums<T>& to, int64_t j, int lanes) {
                      to.sum = to.sum + load_items(x + j, 1, lanes);
                  }).sum;
    const T centre = static_cast<T>(static_cast<double>(reduce_add(sum)) * per_item);
    // The mean's rounding error is the mean of the deviations from it.
    const V shift(centre);
    const RunSums<T> own = sum_of_run<T>(n, [=](RunSums<T>& to, int64_t j, int lanes) {
        const V d = load_items(x + j, 1, lanes, shift) - shift;
        to.sum = to.sum + d, to.product = fma(d, d, to.product);
    });
    const double off = static_cast<double>(reduce_add(own.sum));
    const double squares = static_cast<double>(reduce_add(own.product)) - off * off * per_item;
    return {count, static_cast<double>(centre) + off * per_item, squares < 0 ? 0 : squares};
}

template <class T>
STEEPEST_HD double mean_square(const T* x, int64_t n) {
    double total = 0;
    for (int64_t start = 0; start < n; start += kRunItems) {
        const T* const from = x + start;
        const int64_t items = n - start < kRunItems ? n - start : kRunItems;
        const Vec<T> sum = sum_of_run<T>(items, [=](RunSums<T>& to, int64_t j, int lanes) {
                               const Vec<T> item = load_items(from + j, 1, lanes);
                               to.sum = fma(item, item, to.sum);
                           }).sum;
        total += static_cast<double>(reduce_add(sum));
    }
    return total / static_cast<double>(n);
}

template <class T>
STEEPEST_HD Moments moments_of_row(const T* x, int64_t n) {
    Moments all = moments_of_run(x, n < kRunItems ? n : kRunItems);
    for (int64_t j = kRunItems; j < n; j += kRunItems)
        all = merged(all, moments_of_run(x + j, n - j < kRunItems ? n - j : kRunItems));
    return all;
}

// A sample is one row: its statistics and its result follow one another while it is in the first-level cache.
template <class T>
void normalize_rows(const ops::Normalize<T>& op, Team& team) {
    using V = Vec<T>;
    const int64_t channels = op.shape.channels, width = op.shape.width();
    const Range mine = team.split(op.shape.samples, 1 + 1024 / (channels + 1));
    if (mine.empty()) return;
    RowBlocks<T> blocks(op.x, {}, op.out);
    Pieces pieces(team.scratch(2 * Pieces::bytes<T>(channels) + Pieces::bytes<T>(blocks.buffer_items())));
    const T* const weight = contiguous_items(op.weight, channels, T(1), pieces.take<T>(channels));
    const T* const bias = contiguous_items(op.bias, channels, T(0), pieces.take<T>(channels));
    blocks.set_buffer(pieces.take<T>(blocks.buffer_items()));
    const auto normalize_group = [&](const RowBlock<T>& block, int r, int64_t group) {
        const int64_t begin = group * width;
        const T* const x = block.x + r * block.x_step + begin;
        Moments all{1, 0, 0};
        if (op.norm == Norm::kRms)
            all.squares = mean_square(x, width);
        else
            all = moments_of_row(x, width);
        const double rstd = reciprocal_deviation(all.squares / all.count, op.epsilon);
        const T mean = static_cast<T>(all.mean);
        // What rounding the mean leaves is subtracted after the scaling.
        const V shift(mean), scale(rstd), rest((static_cast<double>(mean) - all.mean) * rstd);
        T* const out = block.out + r * block.out_step + begin;
        for_each_vector<T>(0, width, [=](int64_t j, int lanes) {
            const V xh = fma(load_items(x + j, 1, lanes) - shift, scale, rest);
            store_items(fma(xh, load_items(weight + begin + j, 1, lanes), load_items(bias + begin + j, 1, lanes)),
                        out + j, 1, lanes);
        });
        const int64_t i = block.first + r;
        if (op.mean) op.mean(i, group) = mean;
        op.rstd(i, group) = static_cast<T>(rstd);
    };
    blocks.for_each(mine, true, [&](const RowBlock<T>& block) {
        for (int r = 0; r < block.rows; ++r)
            for (int64_t group = 0; group < op.shape.groups; ++group) normalize_group(block, r, group);
        team.checkpoint();
    });
}

// y = (x - mean) scale + offset, with numbers for each channel.
template <class T>
struct ChannelMap {
    T *mean, *scale, *offset;

    STEEPEST_HD void apply(const RowBlock<T>& block, int64_t channels) const {
        for_each_strip<T>(channels, [&, this]<int N>(Vectors<N>, int64_t j, int lanes) {
            using V = Vec<T>;
            V shift[N], factor[N], rest[N];
            for (int u = 0; u < N; ++u) {
                const int64_t at = j + u * V::kSize;
                shift[u] = load_items<T>(mean + at, 1, lanes), factor[u] = load_items<T>(scale + at, 1, lanes);
                rest[u] = load_items<T>(offset + at, 1, lanes);
            }
            for (int64_t r = 0; r < block.rows; ++r)
                for (int u = 0; u < N; ++u) {
                    const int64_t at = j + u * V::kSize;
                    const V d = load_items(block.x + r * block.x_step + at, 1, lanes) - shift[u];
                    store_items(fma(d, factor[u], rest[u]), block.out + r * block.out_step + at, 1, lanes);
                }
        });
    }
};

// The work of a thread on samples of several rows.
template <class T>
class SampleNorm {
  public:
    SampleNorm(const ops::Normalize<T>& op, Team& team)
        : op_(op), shape_(op.shape), parts_(op.shape), blocks_(op.x, {}, op.out), channels_(op.shape.channels) {
        Pieces pieces(team.scratch(2 * Pieces::bytes<double>(channels_) + 5 * Pieces::bytes<T>(channels_) +
                                   Pieces::bytes<T>(blocks_.buffer_items())));
        columns_.mean = pieces.take<double>(channels_), columns_.squares = pieces.take<double>(channels_);
        map_.mean = pieces.take<T>(channels_), map_.scale = pieces.take<T>(channels_);
        map_.offset = pieces.take<T>(channels_);
        weight_ = contiguous_items(op.weight, channels_, T(1), pieces.take<T>(channels_));
        bias_ = contiguous_items(op.bias, channels_, T(0), pieces.take<T>(channels_));
        blocks_.set_buffer(pieces.take<T>(blocks_.buffer_items()));
    }

    // A thread takes whole samples.
    void run_samples(Team& team) {
        const Range mine = team.split(shape_.samples, 1);
        for (int64_t n = mine.begin; n < mine.end; ++n) {
            gather(rows_of(n, {0, shape_.places}), columns_, team);
            finish(n, true);
            apply(rows_of(n, {0, shape_.places}), team);
        }
    }

    // The threads share each sample: moments of its parts come first.
    void run_parts(Team& team) {
        const Range mine = team.split(shape_.samples * parts_.count, 1);
        for (int64_t p = mine.begin; p < mine.end; ++p) gather(rows_of_part(p), part(p), team);
        team.barrier();  // the moments of all parts are written
        for (int64_t p = mine.begin; p < mine.end; ++p) {
            const int64_t n = p / parts_.count;
            if (p == mine.begin || p % parts_.count == 0) merge_parts(n), finish(n, p % parts_.count == 0);
            apply(rows_of_part(p), team);
        }
    }

    // The statistics are given.
    void run_given(Team& team) {
        for (int64_t j = 0; j < channels_; ++j) {
            const double scale = reciprocal_deviation(static_cast<double>(op_.running_var[j]), op_.epsilon);
            map_.mean[j] = op_.running_mean[j], map_.offset[j] = bias_[j];
            map_.scale[j] = static_cast<T>(scale * static_cast<double>(weight_[j]));
        }
        apply(team.split(shape_.rows(), 1 + 2048 / (channels_ + 1)), team);
    }

  private:
    Range rows_of(int64_t sample, Range rows) const {
        return {sample * shape_.places + rows.begin, sample * shape_.places + rows.end};
    }
    Range rows_of_part(int64_t p) const {
        return rows_of(p / parts_.count, {parts_.begin(p % parts_.count), parts_.begin(p % parts_.count + 1)});
    }
    ColumnMoments<T> part(int64_t p) const {
        double* const at = op_.workspace.data + p * 2 * channels_;
        return {at, at + channels_};
    }

    void gather(Range rows, const ColumnMoments<T>& to, Team& team) const {
        for (int64_t j = 0; j < channels_; ++j) to.mean[j] = to.squares[j] = 0;
        blocks_.for_each(rows, false, [&](const RowBlock<T>& block) {
            to.add(block, static_cast<double>(block.first - rows.begin), channels_);
            team.checkpoint();
        });
    }

    void merge_parts(int64_t sample) const {
        double count = 0;
        for (int64_t j = 0; j < channels_; ++j) columns_.mean[j] = columns_.squares[j] = 0;
        for (int64_t p = 0; p < parts_.count; ++p) {
            const ColumnMoments<T> from = part(sample * parts_.count + p);
            const double rows = static_cast<double>(parts_.begin(p + 1) - parts_.begin(p));
            for (int64_t j = 0; j < channels_; ++j) {
                const Moments all =
                    merged({count, columns_.mean[j], columns_.squares[j]}, {rows, from.mean[j], from.squares[j]});
                columns_.mean[j] = all.mean, columns_.squares[j] = all.squares;
            }
            count += rows;
        }
    }

    // From the moments of columns to those of groups, and what they make of x. One thread writes the statistics.
    void finish(int64_t sample, bool writes) const {
        const int64_t width = shape_.width();
        const double places = static_cast<double>(shape_.places), count = static_cast<double>(shape_.items());
        for (int64_t group = 0; group < shape_.groups; ++group) {
            const Range channels{group * width, (group + 1) * width};
            double mean = 0, squares = 0;
            for (int64_t j = channels.begin; j < channels.end; ++j) mean += columns_.mean[j];
            mean /= static_cast<double>(width);
            for (int64_t j = channels.begin; j < channels.end; ++j) {
                const double delta = columns_.mean[j] - mean;
                squares += columns_.squares[j] + places * delta * delta;
            }
            const double rstd = reciprocal_deviation(squares / count, op_.epsilon);
            const T rounded = static_cast<T>(mean);
            // What rounding the mean leaves is part of the offset.
            const double rest = (static_cast<double>(rounded) - mean) * rstd;
            for (int64_t j = channels.begin; j < channels.end; ++j) {
                const double weight = static_cast<double>(weight_[j]);
                map_.mean[j] = rounded, map_.scale[j] = static_cast<T>(rstd * weight);
                map_.offset[j] = static_cast<T>(static_cast<double>(bias_[j]) + rest * weight);
            }
            if (!writes) continue;
            op_.mean(sample, group) = rounded, op_.rstd(sample, group) = static_cast<T>(rstd);
            if (!op_.running_mean) continue;
            op_.running_mean[group] = moved(op_.running_mean[group], mean, op_.momentum);
            op_.running_var[group] = moved(op_.running_var[group], squares / (count - 1), op_.momentum);
        }
    }

    void apply(Range rows, Team& team) const {
        blocks_.for_each(rows, true, [&](const RowBlock<T>& block) {
            map_.apply(block, channels_);
            team.checkpoint();
        });
    }

    const ops::Normalize<T>& op_;
    NormGroups shape_;
    ops::NormParts parts_;
    RowBlocks<T> blocks_;
    int64_t channels_;
    ColumnMoments<T> columns_;
    ChannelMap<T> map_;
    const T *weight_, *bias_;
};

}  // namespace

template <class T>
void run(const ops::Normalize<T>& op, Team& team) {
    if (op.shape.rows() == 0) return;
    if (!op.given && op.shape.places == 1) return normalize_rows(op, team);
    SampleNorm<T> norm(op, team);
    if (op.given) return norm.run_given(team);
    if (op.workspace) return norm.run_parts(team);
    norm.run_samples(team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Normalize)
