#include "cpu/norm_blocks.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T>
double mean_at(const MatrixView<const T>& mean, int64_t sample, int64_t group) {
    return mean ? static_cast<double>(mean(sample, group)) : 0;
}

// ---------------------------------------------------------------------------------------- a sample is one row

// The sums of u and u xh over a group, where u = weight v and xh = (x - mean) rstd. With kChannels, the sums of v xh and
// of v over the rows so far go to `products` and `sums`.
template <bool kChannels, class T>
STEEPEST_HD void add_group(const T* v, const T* x, const T* weight, T mean, T rstd, int64_t n, T* sums, T* products,
                           double& total, double& correlated) {
    using V = Vec<T>;
    constexpr int64_t kRunItems = 2048;
    const V shift(mean), scale(rstd);
    total = correlated = 0;
    for (int64_t start = 0; start < n; start += kRunItems) {
        const int64_t end = n - start < kRunItems ? n : start + kRunItems;
        V sum[2] = {V(0), V(0)}, product[2] = {V(0), V(0)};
        const auto add = [&](int q, int64_t j, int lanes) {
            const V item = load_items(v + j, 1, lanes), u = item * load_items(weight + j, 1, lanes);
            const V xh = (load_items(x + j, 1, lanes) - shift) * scale;
            sum[q] = sum[q] + u, product[q] = fma(u, xh, product[q]);
            if constexpr (kChannels) {
                store_items(load_items<T>(sums + j, 1, lanes) + item, sums + j, 1, lanes);
                store_items(fma(item, xh, load_items<T>(products + j, 1, lanes)), products + j, 1, lanes);
            }
        };
        int64_t j = start;
        for (; j + 2 * V::kSize <= end; j += 2 * V::kSize) add(0, j, V::kSize), add(1, j + V::kSize, V::kSize);
        for_each_vector<T>(j, end, [&](int64_t k, int lanes) { add(0, k, lanes); });
        total += static_cast<double>(reduce_add(sum[0] + sum[1]));
        correlated += static_cast<double>(reduce_add(product[0] + product[1]));
    }
}

template <class T>
void add_channels(const T* from, int64_t n, double* to) {
    for_each_vector<T>(0, n, [=](int64_t j, int lanes) { add_to(to + j, load_items(from + j, 1, lanes), lanes); });
}

template <bool kChannels, class T>
void differentiate_rows(const ops::NormalizeBackward<T>& op, Team& team) {
    using V = Vec<T>;
    const int64_t channels = op.shape.channels, width = op.shape.width();
    const double count = static_cast<double>(width);
    RowBlocks<T> blocks(op.x, op.d_y, op.d_x);
    Pieces pieces(team.scratch(3 * Pieces::bytes<T>(channels) + Pieces::bytes<T>(blocks.buffer_items())));
    const T* const weight = contiguous_items(op.weight, channels, T(1), pieces.take<T>(channels));
    T *const sums = pieces.take<T>(channels), *const products = pieces.take<T>(channels);
    blocks.set_buffer(pieces.take<T>(blocks.buffer_items()));

    const auto differentiate_group = [&](const RowBlock<T>& block, int r, int64_t group) {
        const int64_t begin = group * width, i = block.first + r;
        const T *const v = block.v + r * block.v_step + begin, *const x = block.x + r * block.x_step + begin,
                       *const w = weight + begin;
        const T rstd = op.rstd(i, group), mean = op.mean ? op.mean(i, group) : T(0);
        double total, correlated;
        add_group<kChannels>(v, x, w, mean, rstd, width, sums + begin, products + begin, total, correlated);
        if (!op.d_x) return;
        const double scale = static_cast<double>(rstd);
        const V shift(mean), factor(rstd), slope(-scale * scale * correlated / count);
        const V rest(op.mean ? -scale * total / count : 0.0);
        T* const out = block.out + r * block.out_step + begin;
        for_each_vector<T>(0, width, [=](int64_t j, int lanes) {
            const V u = load_items(v + j, 1, lanes) * load_items(w + j, 1, lanes);
            store_items(fma(u, factor, fma(load_items(x + j, 1, lanes) - shift, slope, rest)), out + j, 1, lanes);
        });
    };
    const auto differentiate = [&](Range rows, double* to) {
        blocks.for_each(rows, static_cast<bool>(op.d_x), [&](const RowBlock<T>& block) {
            if (kChannels)
                for (int64_t j = 0; j < channels; ++j) sums[j] = products[j] = 0;
            for (int r = 0; r < block.rows; ++r)
                for (int64_t group = 0; group < op.shape.groups; ++group) differentiate_group(block, r, group);
            if (kChannels) add_channels(sums, channels, to), add_channels(products, channels, to + channels);
            team.checkpoint();
        });
    };

    if constexpr (!kChannels) {
        differentiate(team.split(op.shape.samples, 1 + 1024 / (channels + 1)), nullptr);
    } else {
        const ops::RowChunks chunks = ops::sample_chunks(op.shape);
        const Range mine = team.split(chunks.count, 1);
        for (int64_t chunk = mine.begin; chunk < mine.end; ++chunk) {
            double* const to = op.workspace.data + chunk * 2 * channels;
            for (int64_t j = 0; j < 2 * channels; ++j) to[j] = 0;
            differentiate({chunks.begin(chunk), chunks.begin(chunk + 1)}, to);
        }
        team.barrier();  // the sums of all chunks are written
        put_channel_sums(op, chunks.count, team, [](int64_t, int64_t) { return 1.0; });
    }
}

template <class T>
void tangent_of_rows(const ops::NormalizeTangent<T>& op, Team& team) {
    using V = Vec<T>;
    const int64_t channels = op.shape.channels, width = op.shape.width();
    const double count = static_cast<double>(width);
    const Range mine = team.split(op.shape.samples, 1 + 1024 / (channels + 1));
    if (mine.empty()) return;
    RowBlocks<T> blocks(op.x, op.dx, op.out);
    Pieces pieces(team.scratch(4 * Pieces::bytes<T>(channels) + Pieces::bytes<T>(blocks.buffer_items())));
    const T* const ones = contiguous_items({}, channels, T(1), pieces.take<T>(channels));
    const T* const weight = contiguous_items(op.weight, channels, T(1), pieces.take<T>(channels));
    const T* const d_weight = contiguous_items(op.d_weight, channels, T(0), pieces.take<T>(channels));
    const T* const d_bias = contiguous_items(op.d_bias, channels, T(0), pieces.take<T>(channels));
    blocks.set_buffer(pieces.take<T>(blocks.buffer_items()));
    const auto tangent_of_group = [&](const RowBlock<T>& block, int r, int64_t group) {
        const int64_t begin = group * width, i = block.first + r;
        const T *const x = block.x + r * block.x_step + begin, *const dx =
                                                                   op.dx ? block.v + r * block.v_step + begin : nullptr;
        const T rstd = op.rstd(i, group), mean = op.mean ? op.mean(i, group) : T(0);
        double total = 0, correlated = 0;
        if (dx) add_group<false, T>(dx, x, ones, mean, rstd, width, nullptr, nullptr, total, correlated);
        const double scale = static_cast<double>(rstd);
        const V shift(mean), factor(rstd), slope(-scale * correlated / count);
        const V rest(op.mean ? -scale * total / count : 0.0);
        T* const out = block.out + r * block.out_step + begin;
        for_each_vector<T>(0, width, [=](int64_t j, int lanes) {
            const V xh = (load_items(x + j, 1, lanes) - shift) * factor;
            const V moved = dx ? fma(load_items(dx + j, 1, lanes), factor, fma(xh, slope, rest)) : V(0);
            const V scaled =
                fma(load_items(d_weight + begin + j, 1, lanes), xh, load_items(d_bias + begin + j, 1, lanes));
            store_items(fma(load_items(weight + begin + j, 1, lanes), moved, scaled), out + j, 1, lanes);
        });
    };
    blocks.for_each(mine, true, [&](const RowBlock<T>& block) {
        for (int r = 0; r < block.rows; ++r)
            for (int64_t group = 0; group < op.shape.groups; ++group) tangent_of_group(block, r, group);
        team.checkpoint();
    });
}

// ----------------------------------------------------------------------------------- a sample has several rows

// out = factor v + slope (x - mean) + rest, with numbers for each channel; without kReadsV, v counts as 0.
template <class T>
struct PairMap {
    T *mean, *factor, *slope, *rest;

    template <bool kReadsV>
    STEEPEST_HD void apply(const RowBlock<T>& block, int64_t channels) const {
        for_each_strip<T>(channels, [&, this]<int N>(Vectors<N>, int64_t j, int lanes) {
            using V = Vec<T>;
            V shift[N], by[N], along[N], offset[N];
            for (int u = 0; u < N; ++u) {
                const int64_t at = j + u * V::kSize;
                shift[u] = load_items<T>(mean + at, 1, lanes), by[u] = load_items<T>(factor + at, 1, lanes);
                along[u] = load_items<T>(slope + at, 1, lanes), offset[u] = load_items<T>(rest + at, 1, lanes);
            }
            for (int64_t r = 0; r < block.rows; ++r)
                for (int u = 0; u < N; ++u) {
                    const int64_t at = j + u * V::kSize;
                    const V d = load_items(block.x + r * block.x_step + at, 1, lanes) - shift[u];
                    V out = fma(d, along[u], offset[u]);
                    if constexpr (kReadsV) out = fma(load_items(block.v + r * block.v_step + at, 1, lanes), by[u], out);
                    store_items(out, block.out + r * block.out_step + at, 1, lanes);
                }
        });
    }
};

// The work of a thread on samples of several rows; `Op` is the gradient or the tangent.
template <class T, class Op>
class SamplePairs {
  public:
    static constexpr bool kBackward = requires(const Op& op) { op.d_x; };

    SamplePairs(const Op& op, const TensorView<const T>& v, const TensorView<T>& out, Team& team)
        : op_(op),
          shape_(op.shape),
          parts_(op.shape),
          blocks_(op.x, v, out),
          channels_(op.shape.channels),
          reads_v_(v),
          writes_(out) {
        Pieces pieces(team.scratch(2 * Pieces::bytes<double>(channels_) + 5 * Pieces::bytes<T>(channels_) +
                                   Pieces::bytes<T>(blocks_.buffer_items())));
        sums_ = pieces.take<double>(channels_), products_ = pieces.take<double>(channels_);
        map_ = {pieces.take<T>(channels_), pieces.take<T>(channels_), pieces.take<T>(channels_),
                pieces.take<T>(channels_)};
        weight_ = contiguous_items(op.weight, channels_, T(1), pieces.take<T>(channels_));
        blocks_.set_buffer(pieces.take<T>(blocks_.buffer_items()));
    }

    // A thread takes whole samples, and adds their sums over channels to those of its chunk, if `to` is given.
    void run_samples(Range samples, double* to, Team& team) {
        for (int64_t n = samples.begin; n < samples.end; ++n) {
            const Range rows{n * shape_.places, (n + 1) * shape_.places};
            put_means(n);
            if (reads_v_) gather(rows, sums_, products_, team);
            if (to) add_to_chunk(n, to);
            apply(n, rows, true, team);
        }
    }

    // The threads share each sample: sums of its parts come first. The sums of all parts stay in the workspace.
    void run_parts(Team& team) {
        const Range mine = team.split(shape_.samples * parts_.count, 1);
        for (int64_t p = mine.begin; p < mine.end; ++p) {
            double* const to = op_.workspace.data + p * 2 * channels_;
            put_means(p / parts_.count);
            gather(rows_of_part(p), to, to + channels_, team);
        }
        team.barrier();  // the sums of all parts are written
        for (int64_t p = mine.begin; p < mine.end; ++p) {
            const bool is_new = p == mine.begin || p % parts_.count == 0;
            if (is_new) put_means(p / parts_.count), add_parts(p / parts_.count);
            apply(p / parts_.count, rows_of_part(p), is_new, team);
        }
    }

    // Without v: nothing depends on sums.
    void run_rows(Team& team) {
        const Range mine = team.split(shape_.rows(), 1 + 2048 / (channels_ + 1));
        for (int64_t i = mine.begin; i < mine.end;) {
            const int64_t n = i / shape_.places, next = (n + 1) * shape_.places,
                          end = next < mine.end ? next : mine.end;
            put_means(n);
            apply(n, {i, end}, true, team);
            i = end;
        }
    }

  private:
    Range rows_of_part(int64_t p) const {
        const int64_t first = p / parts_.count * shape_.places, part = p % parts_.count;
        return {first + parts_.begin(part), first + parts_.begin(part + 1)};
    }

    void put_means(int64_t sample) const {
        for (int64_t group = 0, j = 0; group < shape_.groups; ++group)
            for (; j < (group + 1) * shape_.width(); ++j) map_.mean[j] = op_.mean(sample, group);
    }

    void gather(Range rows, double* sums, double* products, Team& team) const {
        for (int64_t j = 0; j < channels_; ++j) sums[j] = products[j] = 0;
        blocks_.for_each(rows, false, [&](const RowBlock<T>& block) {
            add_products(block, map_.mean, channels_, sums, products);
            team.checkpoint();
        });
    }

    void add_parts(int64_t sample) const {
        for (int64_t j = 0; j < channels_; ++j) sums_[j] = products_[j] = 0;
        for (int64_t p = 0; p < parts_.count; ++p) {
            const double* const from = op_.workspace.data + (sample * parts_.count + p) * 2 * channels_;
            for (int64_t j = 0; j < channels_; ++j) sums_[j] += from[j], products_[j] += from[channels_ + j];
        }
    }

    void add_to_chunk(int64_t sample, double* to) const {
        for (int64_t group = 0, j = 0; group < shape_.groups; ++group) {
            const double rstd = static_cast<double>(op_.rstd(sample, group));
            for (; j < (group + 1) * shape_.width(); ++j) to[j] += sums_[j], to[channels_ + j] += products_[j] * rstd;
        }
    }

    // From sums over columns to those over groups, and what they make of v and x.
    void finish(int64_t sample) const {
        const int64_t width = shape_.width();
        const double count = static_cast<double>(shape_.items());
        for (int64_t group = 0; group < shape_.groups; ++group) {
            const double rstd = static_cast<double>(op_.rstd(sample, group));
            double total = 0, correlated = 0;
            for (int64_t j = group * width; reads_v_ && j < (group + 1) * width; ++j) {
                const double weight = kBackward ? static_cast<double>(weight_[j]) : 1;
                total += weight * sums_[j], correlated += weight * products_[j] * rstd;
            }
            total /= count, correlated /= count;
            for (int64_t j = group * width; j < (group + 1) * width; ++j) {
                const double weight = static_cast<double>(weight_[j]), outer = kBackward ? 1 : weight;
                double slope = -outer * rstd * rstd * correlated, rest = -outer * rstd * total;
                if constexpr (!kBackward) {
                    if (op_.d_weight) slope += static_cast<double>(op_.d_weight[j]) * rstd;
                    if (op_.d_bias) rest += static_cast<double>(op_.d_bias[j]);
                }
                map_.factor[j] = static_cast<T>(weight * rstd);
                map_.slope[j] = static_cast<T>(slope), map_.rest[j] = static_cast<T>(rest);
            }
        }
    }

    void apply(int64_t sample, Range rows, bool is_new, Team& team) const {
        if (!writes_) return;
        if (is_new) finish(sample);
        blocks_.for_each(rows, true, [&](const RowBlock<T>& block) {
            reads_v_ ? map_.template apply<true>(block, channels_) : map_.template apply<false>(block, channels_);
            team.checkpoint();
        });
    }

    const Op& op_;
    NormGroups shape_;
    ops::NormParts parts_;
    RowBlocks<T> blocks_;
    int64_t channels_;
    bool reads_v_, writes_;
    double *sums_, *products_;
    PairMap<T> map_;
    const T* weight_;
};

}  // namespace

template <class T>
void run(const ops::NormalizeBackward<T>& op, Team& team) {
    const NormGroups& shape = op.shape;
    if (shape.places == 1)
        return op.sums_channels() ? differentiate_rows<true>(op, team) : differentiate_rows<false>(op, team);
    SamplePairs<T, ops::NormalizeBackward<T>> pairs(op, op.d_y, op.d_x, team);
    const ops::NormParts parts(shape);
    if (parts.count > 1) {
        pairs.run_parts(team);
        if (op.sums_channels())
            put_channel_sums(op, shape.samples * parts.count, team, [&](int64_t part, int64_t channel) {
                return static_cast<double>(op.rstd(part / parts.count, channel / shape.width()));
            });
        return;
    }
    if (!op.sums_channels()) return pairs.run_samples(team.split(shape.samples, 1), nullptr, team);
    const ops::RowChunks chunks = ops::sample_chunks(shape);
    const Range mine = team.split(chunks.count, 1);
    for (int64_t chunk = mine.begin; chunk < mine.end; ++chunk) {
        double* const to = op.workspace.data + chunk * 2 * shape.channels;
        for (int64_t j = 0; j < 2 * shape.channels; ++j) to[j] = 0;
        pairs.run_samples({chunks.begin(chunk), chunks.begin(chunk + 1)}, to, team);
    }
    team.barrier();  // the sums of all chunks are written
    put_channel_sums(op, chunks.count, team, [](int64_t, int64_t) { return 1.0; });
}

template <class T>
void run(const ops::NormalizeTangent<T>& op, Team& team) {
    if (op.shape.rows() == 0) return;
    if (op.shape.places == 1) return tangent_of_rows(op, team);
    SamplePairs<T, ops::NormalizeTangent<T>> pairs(op, op.dx, op.out, team);
    if (!op.dx) return pairs.run_rows(team);
    if (ops::NormParts(op.shape).count > 1) return pairs.run_parts(team);
    pairs.run_samples(team.split(op.shape.samples, 1), nullptr, team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(NormalizeBackward)
STEEPEST_INSTANTIATE(NormalizeTangent)
