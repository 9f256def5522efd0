#include "cpu/rows.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kRows = 64;  // summed side by side where neighbouring items belong to different rows

// Adds the items of a piece of one row to `total`, and writes the sums on the way. Four items wait for one addition to
// the total, and not for four.
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

// The same for up to kRows rows, whose items at one place lie close together.
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

// Pieces of rows that are summed together, numbered row by row.
template <class T>
struct Work {
    const ops::Cumsum<T>& op;
    bool across;
    int64_t group, length, pieces;

    explicit Work(const ops::Cumsum<T>& op)
        : op(op),
          across(op.x.rows > 1 && magnitude(op.x.row_stride) < magnitude(op.x.col_stride)),
          group(across ? kRows : 1),
          length(op.template piece_length<false>()),
          pieces(op.template pieces<false>()) {}

    int64_t count() const { return (op.x.rows + group - 1) / group * pieces; }

    template <bool kWrites>
    void sum(int64_t number, double* totals) const {
        const int64_t i = number / pieces * group, j = number % pieces * length;
        const int64_t rows = op.x.rows - i < group ? op.x.rows - i : group;
        const int64_t cols = op.x.cols - j < length ? op.x.cols - j : length;
        const auto x = op.x.block(i, j, rows, cols);
        const auto out = op.out.block(i, j, rows, cols);
        if (across)
            sum_across<kWrites>(x, out, totals);
        else
            totals[0] = sum_along<kWrites>(x.data, x.col_stride, out.data, out.col_stride, cols, totals[0]);
    }
};

}  // namespace

template <class T>
void run(const ops::Cumsum<T>& op, Team& team) {
    const Work<T> work(op);
    if (work.pieces == 0) return;
    const Range mine = team.split(work.count(), 1 + 4096 / (work.group * work.length + 1));
    double* const ends = op.workspace.data;  // the totals of all pieces, row by row
    const auto end_of = [&](int64_t number, int64_t k) -> double& {
        return ends[(number / work.pieces * work.group + k) * work.pieces + number % work.pieces];
    };
    const auto rows_of = [&](int64_t number) {
        const int64_t left = op.x.rows - number / work.pieces * work.group;
        return left < work.group ? left : work.group;
    };
    if (work.pieces > 1) {
        for (int64_t number = mine.begin; number < mine.end; ++number) {
            team.checkpoint();
            double totals[kRows] = {};
            work.template sum<false>(number, totals);
            for (int64_t k = 0; k < rows_of(number); ++k) end_of(number, k) = totals[k];
        }
        team.barrier();  // the totals of all pieces are there
    }
    double totals[kRows] = {};
    for (int64_t number = mine.begin; number < mine.end; ++number) {
        team.checkpoint();
        const int64_t before = number % work.pieces;
        if (number == mine.begin || before == 0)
            for (int64_t k = 0; k < rows_of(number); ++k) {
                totals[k] = 0;
                for (int64_t p = number - before; p < number; ++p) totals[k] += end_of(p, k);
            }
        // What the pieces before came to is added up from their totals alike, wherever this member has begun.
        double sums[kRows];
        for (int k = 0; k < kRows; ++k) sums[k] = totals[k];
        work.template sum<true>(number, sums);
        if (work.pieces > 1)
            for (int64_t k = 0; k < rows_of(number); ++k) totals[k] += end_of(number, k);
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Cumsum)
