#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/wide_sum.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kGrain = 1024;    // smallest number of items that a thread takes
constexpr int64_t kChunkRows = 64;  // minimum number of rows whose products are summed together
constexpr int64_t kColumns = 64;    // columns that a thread takes together, if the threads divide columns

// The slopes of a run of items: one for all items, or one for each.
template <class T>
struct OneSlope {
    Vec<T> slope;
    STEEPEST_HD Vec<T> at(int64_t, int) const { return slope; }
};
template <class T>
struct Slopes {
    const T* slope;
    STEEPEST_HD Vec<T> at(int64_t j, int lanes) const { return load_items(slope + j, 1, lanes); }
};

template <class T, class S>
STEEPEST_HD void rectify(const T* x, const S& slopes, T* out, int64_t n) {
    for_each_vector<T>(0, n, [=](int64_t j, int lanes) {
        const Vec<T> items = load_items(x + j, 1, lanes);
        store_items(select(items > Vec<T>(0), items, slopes.at(j, lanes) * items), out + j, 1, lanes);
    });
}

// Computes d_x of a run of items, and calls `take` with each vector of the terms of d_slope, whose absent lanes are 0.
template <class T, class S, class Take>
STEEPEST_HD void rectify_backward(const T* d_y, const T* x, const S& slopes, T* d_x, int64_t n, const Take& take) {
    for_each_vector<T>(0, n, [&](int64_t j, int lanes) {
        const Vec<T> d = load_items(d_y + j, 1, lanes), items = load_items(x + j, 1, lanes), zero(0);
        const auto positive = items > zero;
        store_items(select(positive, d, slopes.at(j, lanes) * d), d_x + j, 1, lanes);
        take(j, lanes, select(positive, zero, d * items));
    });
}

// The rows of a backward pass in contiguous memory; rows with strided columns are copied.
template <class T>
struct BackwardRows {
    const ops::PreluBackward<T>& op;
    T* copies;  // room for 3 rows

    template <class S, class Take>
    STEEPEST_HD void run(int64_t i, Range columns, const S& slopes, const Take& take) const {
        const int64_t n = columns.end - columns.begin;
        const auto part = [&](const auto& m) { return m.block(0, columns.begin, m.rows, n); };
        const MatrixView<T> d_x = part(op.d_x);
        T* const out = writable_row(d_x, i, copies + 2 * n);
        rectify_backward(contiguous_row(part(op.d_y), i, copies), contiguous_row(part(op.x), i, copies + n), slopes,
                         out, n, take);
        put_row(d_x, i, out);
    }
};

// The number of chunks of rows whose sums are added up; it does not depend on the number of threads.
STEEPEST_HD int64_t chunks_of(int64_t rows) {
    const int64_t chunks = (rows + kChunkRows - 1) / kChunkRows;
    return chunks < kChunks ? chunks : kChunks;
}
STEEPEST_HD Range rows_of_chunk(int64_t rows, int64_t c) {
    const int64_t chunks = chunks_of(rows);
    return {rows * c / chunks, rows * (c + 1) / chunks};
}

template <class T>
STEEPEST_HD void copy_slopes(const VectorView<const T>& slope, Range columns, T* to) {
    for (int64_t j = columns.begin; j < columns.end; ++j) to[j - columns.begin] = slope[j];
}

// sums[j] = the terms of column j in the rows of one chunk.
template <class T>
void sum_chunk(const BackwardRows<T>& rows, Range chunk, Range columns, const T* slopes, double* sums) {
    const int64_t n = columns.end - columns.begin;
    for (int64_t j = 0; j < n; ++j) sums[j] = 0;
    for (int64_t i = chunk.begin; i < chunk.end; ++i) {
        rows.run(i, columns, Slopes<T>{slopes},
                 [=](int64_t j, int lanes, Vec<T> terms) { add_to(sums + j, terms, lanes); });
    }
}

// The backward pass with one slope for all items: sums over chunks of rows, or of items if the arrays are contiguous.
template <class T>
void backward_of_one(const ops::PreluBackward<T>& op, Team& team) {
    const OneSlope<T> slope{Vec<T>(op.slope[0])};
    const bool flat = is_flat(op.d_y) && is_flat(op.x) && is_flat(op.d_x);
    const int64_t length = flat ? op.x.rows * op.x.cols : op.x.rows;
    const Range mine = length < kChunks ? (team.rank() == 0 ? Range{0, kChunks} : Range{0, 0}) : my_chunks(team);
    const BackwardRows<T> rows{op, static_cast<T*>(team.scratch(3 * op.x.cols * sizeof(T)))};
    for (int64_t c = mine.begin; c < mine.end; ++c) {
        const Range chunk = chunk_of(length, static_cast<int>(c));
        WideSum<T> sum;
        const auto take = [&](int64_t, int, Vec<T> terms) { sum.add(terms); };
        if (flat)
            rectify_backward(op.d_y.data + chunk.begin, op.x.data + chunk.begin, slope, op.d_x.data + chunk.begin,
                             chunk.end - chunk.begin, take);
        else
            for (int64_t i = chunk.begin; i < chunk.end; ++i) rows.run(i, {0, op.x.cols}, slope, take);
        team.chunks()[c] = sum.total();
    }
    team.barrier();  // all chunks are written
    if (team.rank() != 0) return;
    double total = 0;
    for (int c = 0; c < kChunks; ++c) total += team.chunks()[c];
    op.d_slope[0] = static_cast<T>(total);
}

// The backward pass with a slope for each column. The threads divide the columns or, if these are few, the chunks of
// rows. Either way, the sums of the chunks are added in their order.
template <class T>
void backward_of_columns(const ops::PreluBackward<T>& op, Team& team) {
    const int64_t m = op.x.cols, chunks = chunks_of(op.x.rows);
    const size_t column_bytes = 4 * sizeof(T) + 2 * sizeof(double);
    const bool by_rows = team.size() > 1 && m < kColumns * team.size() &&
                         static_cast<size_t>(chunks * m) * sizeof(double) <= kPartialBytes;
    const Range columns = by_rows ? Range{0, m} : team.split(m, kColumns);
    const int64_t n = columns.end - columns.begin;
    double* const sums = static_cast<double*>(team.scratch(n * column_bytes));
    double* const totals = sums + n;
    T* const slopes = reinterpret_cast<T*>(totals + n);
    const BackwardRows<T> rows{op, slopes + n};
    copy_slopes(op.slope, columns, slopes);
    if (by_rows) {
        double* const partials = static_cast<double*>(team.partials());
        const Range mine = team.split(chunks, 1);
        for (int64_t c = mine.begin; c < mine.end; ++c)
            sum_chunk(rows, rows_of_chunk(op.x.rows, c), columns, slopes, partials + c * m);
        team.barrier();  // all chunks are written
        if (team.rank() == 0) {
            for (int64_t j = 0; j < m; ++j) {
                double total = 0;
                for (int64_t c = 0; c < chunks; ++c) total += partials[c * m + j];
                op.d_slope[j] = static_cast<T>(total);
            }
        }
        team.barrier();  // all chunks are read: the next operation may overwrite them
        return;
    }
    for (int64_t j = 0; j < n; ++j) totals[j] = 0;
    for (int64_t c = 0; c < chunks; ++c) {
        sum_chunk(rows, rows_of_chunk(op.x.rows, c), columns, slopes, sums);
        for (int64_t j = 0; j < n; ++j) totals[j] += sums[j];
    }
    for (int64_t j = 0; j < n; ++j) op.d_slope[columns.begin + j] = static_cast<T>(totals[j]);
}

}  // namespace

template <class T>
void run(const ops::Prelu<T>& op, Team& team) {
    const int64_t m = op.x.cols;
    const bool one = op.slope.size == 1;
    if (one && is_flat(op.x) && is_flat(op.out)) {
        const Range mine = team.split(op.x.rows * m, kGrain);
        return rectify(op.x.data + mine.begin, OneSlope<T>{Vec<T>(op.slope[0])}, op.out.data + mine.begin,
                       mine.end - mine.begin);
    }
    T* const scratch = static_cast<T*>(team.scratch(3 * m * sizeof(T)));
    T* const slopes = scratch + 2 * m;
    for (int64_t j = 0; j < m; ++j) slopes[j] = op.slope[one ? 0 : j];
    const Range mine = team.split(op.x.rows, 1 + kGrain / (m + 1));
    for (int64_t i = mine.begin; i < mine.end; ++i) {
        T* const out = writable_row(op.out, i, scratch + m);
        rectify(contiguous_row(op.x, i, scratch), Slopes<T>{slopes}, out, m);
        put_row(op.out, i, out);
    }
}

template <class T>
void run(const ops::PreluBackward<T>& op, Team& team) {
    if (op.slope.size == 1)
        backward_of_one(op, team);
    else
        backward_of_columns(op, team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Prelu)
STEEPEST_INSTANTIATE(PreluBackward)
