#include "common/rotary.h"

#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/spans.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// The sines and cosines of a row's angles, which all its heads share.
template <class T>
class Angles {
  public:
    static constexpr int64_t kBytes = 3 * sizeof(double) + 2 * sizeof(T);  // of a pair

    Angles(void* memory, double base, int64_t pairs)
        : frequency_(static_cast<double*>(memory)),
          wide_(frequency_ + pairs),
          sine_(reinterpret_cast<T*>(wide_ + 2 * pairs)),
          pairs_(pairs) {
        for (int64_t j = 0; j < pairs; ++j) frequency_[j] = rotary_frequency(base, j, 2 * pairs);
    }

    void seek(double position, bool inverse) {
        using W = Vec<double>;
        const W place(position);
        for_each_vector<double>(0, pairs_, [&](int64_t j, int lanes) {
            const auto at = sine_cosine(place * W::load(frequency_ + j, lanes));
            (inverse ? -at.sine : at.sine).store(wide_ + j, lanes);
            at.cosine.store(wide_ + pairs_ + j, lanes);
        });
        for (int64_t j = 0; j < 2 * pairs_; ++j) sine_[j] = static_cast<T>(wide_[j]);
    }

    Vec<T> sine(int64_t j, int lanes) const { return load_items(sine_ + j, 1, lanes); }
    Vec<T> cosine(int64_t j, int lanes) const { return load_items(sine_ + pairs_ + j, 1, lanes); }

  private:
    double *frequency_, *wide_;  // the second: sines, then cosines
    T* sine_;                    // the same, rounded
    int64_t pairs_;
};

}  // namespace

template <class T>
void run(const ops::Rotary<T>& op, Team& team) {
    if (!check_spans(op.spans, number_of(op), team)) return;
    const int64_t pairs = op.pairs(), stride = op.x.col_stride, out_stride = op.out.col_stride;
    if (pairs == 0) return;
    Angles<T> angles(team.scratch(pairs * Angles<T>::kBytes), op.base, pairs);
    const auto rotate_row = [&](int64_t sequence, int64_t place, int64_t row) {
        angles.seek(op.position(sequence, place), op.inverse);
        for (int64_t head = 0; head < op.heads; ++head) {
            const T* const x = &op.x(row, 2 * pairs * head);
            T* const out = &op.out(row, 2 * pairs * head);
            for_each_vector<T>(0, pairs, [&](int64_t j, int lanes) {
                Vec<T> a = load_items(x + j * stride, stride, lanes);
                Vec<T> b = load_items(x + (pairs + j) * stride, stride, lanes);
                rotate(a, b, angles.sine(j, lanes), angles.cosine(j, lanes));
                store_items(a, out + j * out_stride, out_stride, lanes);
                store_items(b, out + (pairs + j) * out_stride, out_stride, lanes);
            });
        }
    };
    for_my_steps(op.spans, 1 + 512 / op.x.cols, team, rotate_row);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Rotary)
