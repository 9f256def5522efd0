#include "cpu/run.h"
#include "cpu/tensor_map.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kRepeated = 1024;  // items that a short row of b is repeated to

// A run of contiguous items, but b may be one item for all.
template <bool kOneItem, class Formula, class T>
STEEPEST_HD void apply(Formula formula, const T* a, const T* b, T* out, int64_t n, bool past_caches) {
    const Vec<T> item(*b);
    write_vectors(out, n, past_caches, [=](int64_t j, int lanes) {
        const Vec<T> b_j = kOneItem ? item : load_items(b + j, 1, lanes);
        Vec<T> out_j(0);
        if constexpr (Formula::kReadsOut) out_j = load_items<T>(out + j, 1, lanes);
        return formula.value(load_items(a + j, 1, lanes), b_j, out_j);
    });
}

template <bool kOneItem, class Formula, class T>
void apply_to_rows(Formula formula, const ops::Binary<T>& op, bool past_caches, const Team& team) {
    const int64_t n = op.out.extent[op.out.axes - 1];
    for_my_pieces(
        n, team,
        [=](int64_t items, T* out, const T* a, const T* b) { apply<kOneItem>(formula, a, b, out, items, past_caches); },
        op.out, op.a, op.b);
}

// Whether the rows of a matrix follow one another.
template <class T>
bool is_one_run(const TensorView<T>& m) {
    return m.stride[1] == 1 && m.stride[0] == m.extent[1];
}

// Whether the rows of a and out are one run, and b is one short row for all of them.
template <class T>
bool is_short_row_repeated(const ops::Binary<T>& op) {
    return op.out.axes == 2 && op.b.stride[0] == 0 && op.b.stride[1] == 1 && op.out.extent[1] <= kRepeated / 8 &&
           is_one_run(op.a) && is_one_run(op.out);
}

// The short row is repeated first: several rows are then one run of vectors.
template <class Formula, class T>
void apply_to_run(Formula formula, const ops::Binary<T>& op, bool past_caches, Team& team) {
    const int64_t n = op.out.extent[1], rows_at_once = kRepeated / n;
    const Range mine = team.split(op.out.extent[0], 1 + kRunGrain / n);
    if (mine.empty()) return;
    T* const b = static_cast<T*>(team.scratch(kRepeated * sizeof(T)));
    for (int64_t j = 0; j < rows_at_once * n; ++j) b[j] = op.b.data[j % n];
    for (int64_t i = mine.begin; i < mine.end; i += rows_at_once) {
        const int64_t rows = mine.end - i < rows_at_once ? mine.end - i : rows_at_once;
        apply<false>(formula, op.a.data + i * n, b, op.out.data + i * n, rows * n, past_caches);
    }
}

template <class Formula, class T>
void apply_to_strided_rows(Formula formula, const ops::Binary<T>& op, const Team& team) {
    for_my_gathered_pieces<Formula::kReadsOut>(
        team, [=](int64_t n, T* out, const T* a, const T* b) { apply<false>(formula, a, b, out, n, false); }, op.out,
        op.a, op.b);
}

}  // namespace

template <class T>
void run(const ops::Binary<T>& op, Team& team) {
    if (op.out.size() == 0) return;
    const int last = op.out.axes - 1;
    const int64_t n = op.out.extent[last], rows = op.out.size() / n;
    const bool runs = op.a.stride[last] == 1 && op.out.stride[last] == 1;
    const bool in_place =
        op.formula == BinaryFormula::kAddedProduct || op.out.data == op.a.data || op.out.data == op.b.data;
    with_formula(op.formula, [&](auto formula) {
        if (is_short_row_repeated(op)) return apply_to_run(formula, op, pays_to_stream<T>(1, rows * n, in_place), team);
        const bool past_caches = pays_to_stream<T>(rows, n, in_place);
        if (runs && op.b.stride[last] == 1) return apply_to_rows<false>(formula, op, past_caches, team);
        if (runs && op.b.stride[last] == 0) return apply_to_rows<true>(formula, op, past_caches, team);
        apply_to_strided_rows(formula, op, team);
    });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Binary)
