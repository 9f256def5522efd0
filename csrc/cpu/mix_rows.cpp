#include "common/augmentation.h"
#include "cpu/rows.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::MixRows<T>& op, Team& team) {
    using V = Vec<T>;
    const int64_t n = op.x.rows, d = op.x.cols;
    const Range mine = team.split(n, 1 + 1024 / (d + 1));
    for (int64_t i = mine.begin; i < mine.end; ++i) {
        const V weight(op.weights[i]), rest(1 - op.weights[i]);
        const T *const own = op.x.row(i), *const next = op.x.row(i + 1 < n ? i + 1 : 0);
        const int64_t stride = op.x.col_stride, out_stride = op.out.col_stride;
        for_each_vector<T>(0, d, [&](int64_t j, int lanes) {
            const V a = load_items(own + j * stride, stride, lanes), b = load_items(next + j * stride, stride, lanes);
            store_items(mixed(a, b, weight, rest), op.out.row(i) + j * out_stride, out_stride, lanes);
        });
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(MixRows)
