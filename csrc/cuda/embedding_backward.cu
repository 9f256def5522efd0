#include "cuda/device/row_indices.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kDigits = 256;  // values of a digit of the ids, by which a pass sorts
constexpr int kThreads = kDigits;
constexpr int kTile = 1024;  // ids that a block takes in a pass
constexpr int kAhead = 4;    // rows that a thread loads before it adds the first

// A pass of a stable sort of the row numbers by their ids, from the lowest digit to the highest.
struct Pass {
    IntegerVectorView ids;
    const int64_t* from;  // row numbers in the order of the lower digits; null in the first pass
    int64_t* to;
    int64_t* places;  // (kDigits, tiles): the number of a tile's ids with a digit, then where the first of them goes
    int64_t tiles;
    int shift;  // bits below the digit

    __device__ int64_t row(int64_t k) const { return from ? from[k] : k; }
    __device__ int digit(int64_t row) const { return static_cast<int>(ids[row] >> shift & (kDigits - 1)); }
    // The number of item k of this block's tile, or -1 behind the last.
    __device__ int64_t number(int k) const {
        const int64_t number = int64_t{blockIdx.x} * kTile + k;
        return number < ids.size ? number : -1;
    }
};

// Calls f(k) for the items of the tile with a digit, in their order. All threads read the same words.
template <class F>
__device__ __forceinline__ void for_each_with(const SharedArray<int, kTile>& digits, int digit, F f) {
    for (int k = 0; k < kTile; k += 4) {
        const Vector<int, 4> four = load_shared<4>(digits, k);
#pragma unroll
        for (int u = 0; u < 4; ++u)
            if (four[u] == digit) f(k + u);
    }
}

struct CountMemory {
    SharedArray<int, kTile> digit;
    SharedArray<int64_t, kDigits> total;
    SharedArray<int, 1> last;
};

// A thread counts the ids of its tile with its own digit. The last block adds up the counts.
__global__ void __launch_bounds__(kThreads) count_digits_kernel(Guard guard, Pass pass, unsigned* ticket) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<CountMemory>();
    const int mine = static_cast<int>(threadIdx.x);
    for (int k = mine; k < kTile; k += kThreads) {
        const int64_t number = pass.number(k);
        memory.digit[k] = number < 0 ? -1 : pass.digit(pass.row(number));
    }
    __syncthreads();  // the digits are there
    int64_t count = 0;
    for_each_with(memory.digit, mine, [&](int) { ++count; });
    pass.places[mine * pass.tiles + blockIdx.x] = count;
    if (!is_last_block(ticket, gridDim.x, memory.last)) return;
    int64_t* const places = pass.places + mine * pass.tiles;
    int64_t total = 0;
    for (int64_t b = 0; b < pass.tiles; ++b) total += places[b];
    memory.total[mine] = total;
    __syncthreads();  // the totals of all digits are there
    int64_t place = 0;
    for (int d = 0; d < mine; ++d) place += memory.total[d];
    for (int64_t b = 0; b < pass.tiles; ++b) {
        const int64_t in_tile = places[b];
        places[b] = place, place += in_tile;
    }
}

struct PlaceMemory {
    SharedArray<int, kTile> digit;
    SharedArray<int64_t, kTile> row;
};

// A thread moves the rows of its tile with its own digit, in their order.
__global__ void __launch_bounds__(kThreads) place_rows_kernel(Guard guard, Pass pass) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<PlaceMemory>();
    const int mine = static_cast<int>(threadIdx.x);
    for (int k = mine; k < kTile; k += kThreads) {
        const int64_t number = pass.number(k), row = number < 0 ? -1 : pass.row(number);
        memory.row[k] = row, memory.digit[k] = row < 0 ? -1 : pass.digit(row);
    }
    __syncthreads();  // rows and digits are there
    int64_t* to = pass.to + pass.places[mine * pass.tiles + blockIdx.x];
    for_each_with(memory.digit, mine, [&](int k) { *to++ = memory.row[k]; });
}

template <class T>
__global__ void __launch_bounds__(kThreads) clear_table_kernel(Guard guard, MatrixView<T> out) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kThreads + threadIdx.x;
    if (e < out.rows * out.cols) out(e / out.cols, e % out.cols) = T(0);
}

// A thread for each column of the first of the sorted rows with the same id adds these rows.
template <class T>
__global__ void __launch_bounds__(kThreads)
    add_rows_kernel(Guard guard, ops::EmbeddingBackward<T> op, const int64_t* order) {
    if (is_stopped(guard)) return;
    const int64_t e = int64_t{blockIdx.x} * kThreads + threadIdx.x, n = op.d_out.rows;
    if (e >= n * op.out.cols) return;
    const int64_t first = e / op.out.cols, j = e % op.out.cols, id = op.ids[order[first]];
    if (first > 0 && op.ids[order[first - 1]] == id) return;
    T sum = op.accumulate ? op.out(id, j) : T(0);
    bool same = true;
    for (int64_t k = first; same; k += kAhead) {
        T item[kAhead];
        int rows = 0;  // of these that have the id
#pragma unroll
        for (int u = 0; u < kAhead; ++u) {
            const int64_t row = k + u < n ? order[k + u] : -1;
            same = same && row >= 0 && op.ids[row] == id;
            item[u] = same ? op.d_out(row, j) : T(0);
            rows += same;
        }
#pragma unroll
        for (int u = 0; u < kAhead; ++u)
            if (u < rows) sum += item[u];
    }
    op.out(id, j) = sum;
}

dim3 grid_for(int64_t threads) { return dim3(static_cast<unsigned>(blocks_for(threads, kThreads))); }

}  // namespace

template <class T>
void launch(const ops::EmbeddingBackward<T>& op, Stream& stream) {
    const int64_t n = op.d_out.rows, d = op.out.cols, tiles = blocks_for(n, kTile);
    check_rows(RowIndices{op.ids, {nullptr, 0}, n, op.out.rows, number_of(op)}, stream);
    if (!op.accumulate)
        launch_kernel(stream, clear_table_kernel<T>, grid_for(op.out.rows * d), dim3(kThreads), 0, stream.guard(),
                      op.out);
    if (n * d == 0) return;
    const size_t words = static_cast<size_t>(2 * n + kDigits * tiles);
    auto* const memory = static_cast<int64_t*>(stream.state.workspace(words * sizeof(int64_t)));
    Pass pass{op.ids, nullptr, memory, memory + 2 * n, tiles, 0};
    const dim3 grid(static_cast<unsigned>(tiles));
    for (;;) {
        launch_kernel(stream, count_digits_kernel, grid, dim3(kThreads), sizeof(CountMemory), stream.guard(), pass,
                      stream.state.tickets());
        launch_kernel(stream, place_rows_kernel, grid, dim3(kThreads), sizeof(PlaceMemory), stream.guard(), pass);
        pass.shift += 8;
        if (pass.shift >= 63 || (op.out.rows - 1) >> pass.shift == 0) break;
        pass.from = pass.to, pass.to = pass.to == memory ? memory + n : memory;
    }
    launch_kernel(stream, add_rows_kernel<T>, grid_for(n * d), dim3(kThreads), 0, stream.guard(), op,
                  const_cast<const int64_t*>(pass.to));
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(EmbeddingBackward)
