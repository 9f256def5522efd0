#include "common/sampled_scores.h"

#include "cpu/run.h"
#include "cpu/simd/philox.h"
#include "cpu/softmax_row.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kGrain = 1024;  // smallest number of items that a thread takes
constexpr int kBlock = PhiloxWords::kSize;

// p - onehot(class), for the class whose interval of the cumulative distribution contains the number u in [0, 1).
template <class T>
void draw_class(const T* z, double u, T* out, int64_t n) {
    const T sum = exponentiate_row(z, maximum_of_row(z, n), out, n);
    const double target = u * static_cast<double>(sum);
    double running = 0;
    int64_t drawn = -1, possible = 0;
    for (int64_t j = 0; j < n && drawn < 0; ++j) {
        running += static_cast<double>(out[j]);
        if (out[j] > 0) possible = j;  // the last possible class, in case rounding leaves the target unreached
        if (running > target) drawn = j;
    }
    const Vec<T> divisor(sum);
    for_each_vector<T>(0, n, [=](int64_t j, int lanes) {
        store_items(load_items<T>(out + j, 1, lanes) / divisor, out + j, 1, lanes);
    });
    out[drawn < 0 ? possible : drawn] -= T(1);
}

template <class T>
void draw_classes(const ops::SampledScore<T>& op, uint64_t stream, Team& team) {
    const int64_t n = op.z.cols;
    if (n == 0) return;
    T* const scratch = static_cast<T*>(team.scratch(2 * n * sizeof(T)));
    const Range mine = team.split(op.z.rows, 1 + kGrain / (n + 1));
    for (int64_t i = mine.begin; i < mine.end; ++i) {
        T* const out = writable_row(op.out, i, scratch + n);
        const double u = uniform_double(Philox::at(op.seed, stream, static_cast<uint64_t>(i)).bits64(0));
        draw_class(contiguous_row(op.z, i, scratch), u, out, n);
        put_row(op.out, i, out);
    }
}

// The items of a matrix along its rows, from item `first` on.
template <class T>
class ItemWalk {
  public:
    STEEPEST_HD ItemWalk(const MatrixView<T>& m, int64_t first) : m_(m), i_(first / m.cols), j_(first % m.cols) {}
    STEEPEST_HD T& next() {
        T& item = m_(i_, j_);
        if (++j_ == m_.cols) j_ = 0, ++i_;
        return item;
    }

  private:
    MatrixView<T> m_;
    int64_t i_, j_;
};

// Blocks of random words do not end where rows do, so items are first copied together.
template <class T, class Noise, class Formula>
void draw_items(const MatrixView<const T>& z, const MatrixView<T>& out, const PhiloxStream& random,
                const Formula& formula, Team& team) {
    using V = Vec<T>;
    if (z.cols == 0) return;
    const Range mine = team.split(z.rows * z.cols, kGrain);
    ItemWalk<const T> from(z, mine.begin);
    ItemWalk<T> to(out, mine.begin);
    alignas(64) uint32_t word[kBlock];
    alignas(64) T noise[kBlock], items[kBlock] = {};
    for (int64_t e = mine.begin; e < mine.end; e += kBlock) {
        const int64_t n = mine.end - e < kBlock ? mine.end - e : kBlock;
        random.words(e).store(word);
        for (int l = 0; l < kBlock; l += kNoisePerCounter) Noise::make(word + l, noise + l);
        for (int64_t l = 0; l < n; ++l) items[l] = from.next();
        for (int l = 0; l < kBlock; l += V::kSize) formula(V::load(items + l), V::load(noise + l)).store(items + l);
        for (int64_t l = 0; l < n; ++l) to.next() = items[l];
    }
}

template <class T>
void draw_counts(const ops::SampledScore<T>& op, uint64_t stream, Team& team) {
    if (op.z.cols == 0) return;
    const PoissonScore score(op.seed, stream);
    const Range mine = team.split(op.z.rows * op.z.cols, kGrain / 16);
    ItemWalk<const T> from(op.z, mine.begin);
    ItemWalk<T> to(op.out, mine.begin);
    for (int64_t e = mine.begin; e < mine.end; ++e) to.next() = static_cast<T>(score(from.next(), e));
}

}  // namespace

template <class T>
void run(const ops::SampledScore<T>& op, Team& team) {
    const auto stream = static_cast<uint64_t>(op.stream.get());
    if (op.distribution == Distribution::kCategorical) return draw_classes(op, stream, team);
    if (op.distribution == Distribution::kPoisson) return draw_counts(op, stream, team);
    const PhiloxStream random(op.seed, stream);
    for_each_score(op, [&](const auto& z, const auto& out, auto noise, auto formula) {
        draw_items<T, decltype(noise)>(z, out, random, formula, team);
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SampledScore)
