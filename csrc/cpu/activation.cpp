#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// A matrix whose rows follow one another is one long row, which is shared out in vectors and not in rows.
template <class T>
STEEPEST_HD bool is_flat(const MatrixView<T>& m) {
    return m.col_stride == 1 && (m.rows <= 1 || m.row_stride == m.cols);
}

template <class T, class F>
void for_each_span(int64_t rows, int64_t cols, bool flat, Team& team, F&& f) {
    if (flat) {
        const Range mine = team.split(rows * cols, 1024);
        return f(int64_t{0}, mine.begin, mine.end);
    }
    const Range mine = team.split(rows, 1 + 1024 / (cols + 1));
    for (int64_t i = mine.begin; i < mine.end; ++i) f(i, int64_t{0}, cols);
}

}  // namespace

template <class T>
void run(const ops::ActivationForward<T>& op, Team& team) {
    const auto &x = op.x, &out = op.out;
    with_activation(op.activation, [&](auto formula) {
        for_each_span<T>(x.rows, x.cols, is_flat(x) && is_flat(out), team, [&](int64_t i, int64_t begin, int64_t end) {
            for_each_vector<T>(begin, end, [&](int64_t j, int lanes) {
                const Vec<T> v = load_items(&x(i, j), x.col_stride, lanes);
                store_items(formula.value(v), &out(i, j), out.col_stride, lanes);
            });
        });
    });
}

template <class T>
void run(const ops::ActivationBackward<T>& op, Team& team) {
    const auto &d_y = op.d_y, &y = op.y;
    const auto& out = op.out;
    with_activation(op.activation, [&](auto formula) {
        for_each_span<T>(y.rows, y.cols, is_flat(y) && is_flat(d_y) && is_flat(out), team,
                         [&](int64_t i, int64_t begin, int64_t end) {
                             for_each_vector<T>(begin, end, [&](int64_t j, int lanes) {
                                 const Vec<T> d = load_items(&d_y(i, j), d_y.col_stride, lanes);
                                 const Vec<T> v = load_items(&y(i, j), y.col_stride, lanes);
                                 store_items(d * formula.derivative(v), &out(i, j), out.col_stride, lanes);
                             });
                         });
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(ActivationForward)
STEEPEST_INSTANTIATE(ActivationBackward)
