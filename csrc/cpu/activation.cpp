#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"
#include "cpu/vector_runs.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T, class Formula>
STEEPEST_HD void apply(Formula formula, const T* x, T* out, int64_t n, bool past_caches = false) {
    write_vectors(out, n, past_caches,
                  [=](int64_t j, int lanes) { return formula.value(load_items(x + j, 1, lanes)); });
}

template <class T, class Formula>
STEEPEST_HD void apply_derivative(Formula formula, const T* d_y, const T* y, T* out, int64_t n,
                                  bool past_caches = false) {
    write_vectors(out, n, past_caches, [=](int64_t j, int lanes) {
        return load_items(d_y + j, 1, lanes) * formula.derivative(load_items(y + j, 1, lanes));
    });
}

}  // namespace

template <class T>
void run(const ops::ActivationForward<T>& op, Team& team) {
    const int64_t n = op.x.cols;
    with_activation(op.activation, [&](auto formula) {
        if (is_flat(op.x) && is_flat(op.out)) {
            const Range mine = team.split(op.x.rows * n, kRunGrain);
            return apply(formula, op.x.data + mine.begin, op.out.data + mine.begin, mine.end - mine.begin,
                         pays_to_stream<T>(1, op.x.rows * n, op.x.data == op.out.data));
        }
        T* const scratch = static_cast<T*>(team.scratch(2 * n * sizeof(T)));
        const Range mine = team.split(op.x.rows, 1 + kRunGrain / (n + 1));
        for (int64_t i = mine.begin; i < mine.end; ++i) {
            T* const out = writable_row(op.out, i, scratch + n);
            apply(formula, contiguous_row(op.x, i, scratch), out, n);
            put_row(op.out, i, out);
        }
    });
}

template <class T>
void run(const ops::ActivationBackward<T>& op, Team& team) {
    const int64_t n = op.y.cols;
    with_activation(op.activation, [&](auto formula) {
        if (is_flat(op.y) && is_flat(op.d_y) && is_flat(op.out)) {
            const Range mine = team.split(op.y.rows * n, kRunGrain);
            const bool in_place = op.out.data == op.d_y.data || op.out.data == op.y.data;
            return apply_derivative(formula, op.d_y.data + mine.begin, op.y.data + mine.begin, op.out.data + mine.begin,
                                    mine.end - mine.begin, pays_to_stream<T>(1, op.y.rows * n, in_place));
        }
        T* const scratch = static_cast<T*>(team.scratch(3 * n * sizeof(T)));
        const Range mine = team.split(op.y.rows, 1 + kRunGrain / (n + 1));
        for (int64_t i = mine.begin; i < mine.end; ++i) {
            T* const out = writable_row(op.out, i, scratch + 2 * n);
            apply_derivative(formula, contiguous_row(op.d_y, i, scratch), contiguous_row(op.y, i, scratch + n), out, n);
            put_row(op.out, i, out);
        }
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(ActivationForward)
STEEPEST_INSTANTIATE(ActivationBackward)
