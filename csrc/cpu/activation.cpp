#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kGrain = 1024;  // the least number of items for a member

// A result of more bytes leaves the caches before anybody can use it there; written past them, its lines are not fetched
// first.
constexpr size_t kStreamBytes = 32 << 20;

// out_j = f(j, lanes) for the vectors of a run of n items, two at a time: their chains of operations overlap.
template <class T, class F>
STEEPEST_HD void write_vectors(T* out, int64_t n, bool past_caches, F&& f) {
    constexpr int kSize = Vec<T>::kSize;
    int64_t j = 0;
    if (past_caches) {
        const int64_t misaligned = reinterpret_cast<uintptr_t>(out) / sizeof(T) % kSize;
        const int head = misaligned ? static_cast<int>(kSize - misaligned) : 0;
        if (head > 0 && head <= n) f(0, head).store(out, head), j = head;
        for (; j + 2 * kSize <= n; j += 2 * kSize)
            f(j, kSize).stream(out + j), f(j + kSize, kSize).stream(out + j + kSize);
        finish_streams();
    } else {
        for (; j + 2 * kSize <= n; j += 2 * kSize)
            f(j, kSize).store(out + j), f(j + kSize, kSize).store(out + j + kSize);
    }
    for_each_vector<T>(j, n, [=](int64_t k, int lanes) { store_items(f(k, lanes), out + k, 1, lanes); });
}

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

// In place, the lines of the result are in the caches anyway.
template <class T>
STEEPEST_HD bool pays_to_stream(const MatrixView<T>& out, bool in_place) {
    return !in_place && static_cast<size_t>(out.rows * out.cols) * sizeof(T) > kStreamBytes;
}

}  // namespace

template <class T>
void run(const ops::ActivationForward<T>& op, Team& team) {
    const int64_t n = op.x.cols;
    with_activation(op.activation, [&](auto formula) {
        if (is_flat(op.x) && is_flat(op.out)) {
            const Range mine = team.split(op.x.rows * n, kGrain);
            return apply(formula, op.x.data + mine.begin, op.out.data + mine.begin, mine.end - mine.begin,
                         pays_to_stream(op.out, op.x.data == op.out.data));
        }
        T* const scratch = static_cast<T*>(team.scratch(2 * n * sizeof(T)));
        const Range mine = team.split(op.x.rows, 1 + kGrain / (n + 1));
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
            const Range mine = team.split(op.y.rows * n, kGrain);
            const bool in_place = op.out.data == op.d_y.data || op.out.data == op.y.data;
            return apply_derivative(formula, op.d_y.data + mine.begin, op.y.data + mine.begin, op.out.data + mine.begin,
                                    mine.end - mine.begin, pays_to_stream(op.out, in_place));
        }
        T* const scratch = static_cast<T*>(team.scratch(3 * n * sizeof(T)));
        const Range mine = team.split(op.y.rows, 1 + kGrain / (n + 1));
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
