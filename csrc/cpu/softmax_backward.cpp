#include "cpu/rows.h"
#include "cpu/run.h"

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
        const V shift(dot(d_y, y, n));
        for_each_vector<T>(0, n, [=](int64_t j, int lanes) {
            const V probability = load_items(y + j, 1, lanes);
            store_items(probability * (load_items(d_y + j, 1, lanes) - shift), out + j, 1, lanes);
        });
        put_row(op.out, i, out);
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SoftmaxBackward)
