#include "cpu/rows.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kRows = 64;     // maximum number of rows whose pieces are summed together
constexpr int64_t kItems = 4096;  // minimum number of items in the pieces of short rows that are summed together

// Adds the items of a piece of one row to `total`, and writes the sums on the way. Each group of four items adds once
// to the total, which shortens the chain of dependent additions.
template <bool kWrites, class T>
double sum_along(const T* x, int64_t x_stride, T* out, int64_t out_stride, int64_t n, double total) {
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
        const double a = x[j * x_stride], b = a + x[(j + 1) * x_stride];
        const double c = b + x[(j + 2) * x_stride], d = c + x[(j + 3) * x_stride];
        if constexpr (kWrites) {
            out[j * out_stride] = static_cast<T>(total + a), out[(j + 1) * out_stride] = static_cast<T>(total + b);
            out[(j + 2) * out_stride] = static_cast<T>(total + c),
                          out[(j + 3) * out_stride] = static_cast<T>(total + d);
        }
        total += d;
    }
    for (; j < n; ++j) {
        total += x[j * x_stride];
        if constexpr (kWrites) out[j * out_stride] = static_cast<T>(total);
    }
    return total;
}

// Like sum_along for up to kRows rows, whose items in the same column lie close together.
template <bool kWrites, class T>
void sum_across(const MatrixView<const T>& x, const MatrixView<T>& out, double* totals) {
    const int n = static_cast<int>(x.rows);
    const bool close = x.row_stride == 1 && (!kWrites || out.row_stride == 1);
    for (int64_t j = 0; j < x.cols; ++j) {
        const T* const from = &x(0, j);
        T* const to = kWrites ? &out(0, j) : nullptr;
        for (int i = 0; i < n; ++i) totals[i] += close ? from[i] : from[i * x.row_stride];
        if constexpr (kWrites)
            for (int i = 0; i < n; ++i) to[close ? i : i * out.row_stride] = static_cast<T>(totals[i]);
    }
}

// The pieces of neighbouring rows, numbered group by group. Rows form a group if their items in the same column lie
// side by side, or if they are short.
template <class T>
struct Work {
    const ops::Cumsum<T>& op;
    bool across;
    int64_t length, pieces, group;

    explicit Work(const ops::Cumsum<T>& op)
        : op(op),
          across(op.x.rows > 1 && magnitude(op.x.row_stride) < magnitude(op.x.col_stride)),
          length(op.template piece_length<false>()),
          pieces(op.template pieces<false>()) {
        group = across || length * kRows <= kItems ? kRows : length < kItems ? kItems / length : 1;
    }

    int64_t count() const { return (op.x.rows + group - 1) / group * pieces; }
    int64_t first_row(int64_t number) const { return number / pieces * group; }
    int64_t rows(int64_t number) const {
        const int64_t left = op.x.rows - first_row(number);
        return left < group ? left : group;
    }

    // Adds the items of a piece of each row of the group to the total of the row.
    template <bool kWrites>
    void sum(int64_t number, double* totals) const {
        const int64_t j = number % pieces * length, left = op.x.cols - j;
        const auto x = op.x.block(first_row(number), j, rows(number), left < length ? left : length);
        const auto out = op.out.block(first_row(number), j, x.rows, x.cols);
        if (across) return sum_across<kWrites>(x, out, totals);
        for (int64_t i = 0; i < x.rows; ++i)
            totals[i] = sum_along<kWrites>(x.row(i), x.col_stride, out.row(i), out.col_stride, x.cols, totals[i]);
    }
};

}  // namespace

template <class T>
void run(const ops::Cumsum<T>& op, Team& team) {
    const Work<T> work(op);
    if (work.pieces == 0) return;
    const Range mine = team.split(work.count(), 1 + kItems / (work.group * work.length + 1));
    // The total of piece `number` of the k-th row of its group.
    const auto end_of = [&](int64_t number, int64_t k) -> double& {
        return op.workspace[(work.first_row(number) + k) * work.pieces + number % work.pieces];
    };
    if (work.pieces > 1) {
        for (int64_t number = mine.begin; number < mine.end; ++number) {
            team.checkpoint();
            double totals[kRows] = {};
            work.template sum<false>(number, totals);
            for (int64_t k = 0; k < work.rows(number); ++k) end_of(number, k) = totals[k];
        }
        team.barrier();  // the totals of all pieces are written
    }
    double before[kRows];  // for each row, the sum of the totals of the pieces before
    for (int64_t number = mine.begin; number < mine.end; ++number) {
        team.checkpoint();
        const int64_t rows = work.rows(number), piece = number % work.pieces;
        double totals[kRows];
        for (int64_t k = 0; k < rows; ++k) {
            if (number == mine.begin || piece == 0) {
                before[k] = 0;
                for (int64_t p = number - piece; p < number; ++p) before[k] += end_of(p, k);
            }
            totals[k] = before[k];
        }
        work.template sum<true>(number, totals);
        if (work.pieces > 1)
            for (int64_t k = 0; k < rows; ++k) before[k] += end_of(number, k);
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Cumsum)
