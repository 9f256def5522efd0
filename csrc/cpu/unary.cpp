#include "cpu/run.h"
#include "cpu/simd/math.h"
#include "cpu/tensor_map.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class Formula, class T>
STEEPEST_HD void apply(Formula formula, const T* x, T* out, int64_t n, bool past_caches) {
    write_vectors(out, n, past_caches,
                  [=](int64_t j, int lanes) { return formula.value(load_items(x + j, 1, lanes)); });
}

}  // namespace

template <class T>
void run(const ops::Unary<T>& op, Team& team) {
    if (op.out.size() == 0) return;
    const int last = op.out.axes - 1;
    const int64_t n = op.out.extent[last], rows = op.out.size() / n;
    with_formula(op.formula, [&](auto formula) {
        if (op.x.stride[last] == 1 && op.out.stride[last] == 1) {
            const bool past_caches = pays_to_stream<T>(rows, n, op.out.data == op.x.data);
            return for_my_pieces(
                n, team, [=](int64_t items, T* out, const T* x) { apply(formula, x, out, items, past_caches); }, op.out,
                op.x);
        }
        for_my_gathered_pieces<false>(
            team, [=](int64_t items, T* out, const T* x) { apply(formula, x, out, items, false); }, op.out, op.x);
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Unary)
