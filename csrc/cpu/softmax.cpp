#include "cpu/run.h"
#include "cpu/softmax_row.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::Softmax<T>& op, Team& team) {
    using V = Vec<T>;
    const int64_t n = op.x.cols;
    const Range mine = team.split(op.x.rows, 1 + 256 / (n + 1));
    T* const scratch = static_cast<T*>(team.scratch(3 * n * sizeof(T)));
    for (int64_t i = mine.begin; i < mine.end; ++i) {
        const T* x = contiguous_row(op.x, i, scratch);
        T* const out = writable_row(op.out, i, scratch + n);
        const T m = maximum_of_row(x, n);
        if (op.logarithm) {
            // Only the sum of the exponentials is needed; out may be x, which is read again below.
            alignas(64) T log_sum[V::kSize];
            V(exponentiate_row(x, m, scratch + 2 * n, n)).store(log_sum);
            log_of_sums(log_sum, 1);
            const V maximum(m), shift(log_sum[0]);
            for_each_vector<T>(0, n, [=](int64_t j, int lanes) {
                store_items(load_items(x + j, 1, lanes) - maximum - shift, out + j, 1, lanes);
            });
        } else {
            const V divisor(exponentiate_row(x, m, out, n));
            for_each_vector<T>(0, n, [=](int64_t j, int lanes) {
                store_items(load_items<T>(out + j, 1, lanes) / divisor, out + j, 1, lanes);
            });
        }
        put_row(op.out, i, out);
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Softmax)
