#include "cpu/rows.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// |row i|^2, summed in float64. Two separate vectors of sums let additions overlap.
template <class T>
STEEPEST_HD double squared_norm(const MatrixView<const T>& m, int64_t i) {
    using W = Vec<double>;
    W sum[2] = {W(0), W(0)}, more[2] = {W(0), W(0)};
    const auto add = [](W(&to)[2], Vec<T> items) {
        if constexpr (sizeof(T) == sizeof(double)) {
            to[0] = fma(items, items, to[0]);
        } else {
            const W low = widen_low(items), high = widen_high(items);
            to[0] = fma(low, low, to[0]), to[1] = fma(high, high, to[1]);
        }
    };
    const T* const row = m.row(i);
    constexpr int kSize = Vec<T>::kSize;
    int64_t j = 0;
    for (; j + 2 * kSize <= m.cols; j += 2 * kSize) {
        add(sum, load_items(row + j * m.col_stride, m.col_stride, kSize));
        add(more, load_items(row + (j + kSize) * m.col_stride, m.col_stride, kSize));
    }
    for_each_vector<T>(
        j, m.cols, [&](int64_t k, int lanes) { add(sum, load_items(row + k * m.col_stride, m.col_stride, lanes)); });
    return reduce_add((sum[0] + sum[1]) + (more[0] + more[1]));
}

}  // namespace

template <class T>
void run(const ops::GradientNorms<T>& op, Team& team) {
    const int64_t repeats = op.repeats();
    const Range mine = team.split(op.x.rows, 1);
    for (int64_t i = mine.begin; i < mine.end; ++i) {
        const double factor = squared_norm(op.x, i) + (op.bias ? 1 : 0);
        for (int64_t r = i * repeats; r < (i + 1) * repeats; ++r) {
            const double norm = factor * squared_norm(op.d, r);
            op.out[r] = op.accumulate ? op.out[r] + norm : norm;
        }
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(GradientNorms)
