#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/softmax_row.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::SoftmaxBackward<T>& op, Team& team) {
    using V = Vec<T>;
    const int64_t n = op.y.cols;
    const Range mine = team.split(op.y.rows, 1 + 512 / (n + 1));
    T* const scratch = static_cast<T*>(team.scratch(3 * n * sizeof(T)));
    for (int64_t i = mine.begin; i < mine.end; ++i) {
        const T* const d_y = contiguous_row(op.d_y, i, scratch);
        const T* const y = contiguous_row(op.y, i, scratch + n);
        T* const out = writable_row(op.out, i, scratch + 2 * n);
        // Subtracts d_y at the largest y from all d_y: where that y is nearly 1, d_y minus the sum would cancel.
        const T at_maximum = value_at(maximum_of_row(y, n), y, d_y, n);
        const V shift(at_maximum), sum(shifted_dot(y, d_y, at_maximum, n));
        for_each_vector<T>(0, n, [=](int64_t j, int lanes) {
            const V probability = load_items(y + j, 1, lanes), shifted = load_items(d_y + j, 1, lanes) - shift;
            store_items(probability * (shifted - sum), out + j, 1, lanes);
        });
        put_row(op.out, i, out);
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SoftmaxBackward)
