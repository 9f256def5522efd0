// What the loops over the steps of recurrent layers share. Threads share out sequences, not units: each walks its own
// sequences through all their steps, with the weights in its own caches, and meets no barrier. Sequences are walked in
// blocks, the longest first, so that those of a block that have a step are its first rows.
#pragma once

#include "cpu/gemm_pack.h"
#include "cpu/gemm_plan.h"
#include "cpu/pieces.h"
#include "cpu/rows.h"
#include "cpu/simd/math.h"
#include "cpu/spans.h"
#include "ops/recurrence.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Two tiles of rows: the sums of their gates stay in the first-level cache.
constexpr int kBlockSequences = 2 * kTileRows;

// What runs once a step or less stands once, not in the loops of every cell: [[gnu::noinline]].

// Items between neighbouring rows of n items in scratch memory: rows of whole kibibytes would compete for the same sets
// of the cache.
STEEPEST_HD int64_t spread(int64_t n) { return (n + 15) / 16 * 16 + 16; }

// The product of the rows of a block with weights that stay in the caches. Its sums have the same order for any number
// of rows, so that a sequence does not depend on those beside it.
template <class T>
class StateProduct {
    static constexpr int64_t kCols = TileShape<T>::kCols;
    static constexpr int64_t padded(int64_t cols) { return (cols + kCols - 1) / kCols * kCols; }

  public:
    // Items of scratch memory.
    static int64_t items(const MatrixView<const T>& w) { return w.rows * padded(w.cols); }

    // `sequences` are all that the operation has. For a few, weights are read where they are, in the order of memory.
    [[gnu::noinline]] StateProduct(const MatrixView<const T>& w, int64_t sequences, T* packed)
        : w_(w),
          packed_(packed),
          streams_(sequences <= kStreamedRows && w.col_stride == 1),
          dots_(sequences <= kStreamedRows && w.col_stride != 1 && w.row_stride == 1) {
        if (streams_ || dots_) return;
        for (int64_t k = 0; k < w.rows; k += kBlockK)
            pack_panels(w, k, products_from(k), 0, w.cols, packed + k * padded(w.cols));
    }

    // c = a w, or c + a w, for the first rows of a block.
    [[gnu::noinline]] void operator()(int rows, const T* a, int64_t a_row, T* c, int64_t c_row, bool accumulate) const {
        if (rows == 0) return;
        if (streams_ && !accumulate)
            return multiply_rows(rows, w_.cols, w_.rows, a, a_row, 1, w_.data, w_.row_stride, c, c_row);
        if (dots_) {
            for (int i = 0; i < rows; ++i)
                multiply_column(static_cast<int>(w_.cols), w_.rows, w_.data, w_.col_stride, a + i * a_row,
                                c + i * c_row, 1, accumulate);
            return;
        }
        const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
        for (int64_t k = 0; k < w_.rows; k += kBlockK) {
            const int64_t kn = products_from(k);
            for (int64_t j = 0; j < w_.cols; j += kCols) {
                const int cols = static_cast<int>(w_.cols - j < kCols ? w_.cols - j : kCols);
                const T* const panel = streams_ ? w_.row(k) + j : packed_ + k * padded(w_.cols) + j * kn;
                for (int64_t t = 0; t < tiles; ++t) {
                    const int64_t i = rows * t / tiles;
                    multiply_tile(static_cast<int>(rows * (t + 1) / tiles - i), cols, kn, a + i * a_row + k, a_row, 1,
                                  panel, streams_ ? w_.row_stride : kCols, c + i * c_row + j, c_row,
                                  accumulate || k > 0);
                }
            }
        }
    }

  private:
    int64_t products_from(int64_t k) const { return w_.rows - k < kBlockK ? w_.rows - k : kBlockK; }

    MatrixView<const T> w_;
    T* packed_;
    bool streams_, dots_;
};

// The sequences of a thread, the longest first. Those of different lengths that follow one another stay together, since
// the thread that has computed the products of their inputs has their rows in its caches. If that divides the steps too
// unevenly, they are dealt out like cards, the longest first, and every other time around in the opposite direction.
class SequencesOfThread {
  public:
    static size_t bytes(const Spans& spans) { return spans.table ? Pieces::bytes<int64_t>(spans.count) : 0; }

    [[gnu::noinline]] SequencesOfThread(const Spans& spans, Pieces& pieces, const Team& team) {
        if (!spans.table) {
            const Range mine = team.split(spans.count, 1);
            first_ = mine.begin, count_ = mine.end - mine.begin;
            return;
        }
        order_ = pieces.take<int64_t>(spans.count);
        const int64_t size = team.size(), rank = team.rank(), steps = steps_of(spans);
        // The thread whose equal share of all steps holds the middle of a sequence.
        int64_t before = 0, thread = 0, load = 0, heaviest = 0;
        for (int64_t i = 0; i < spans.count; ++i) {
            const int64_t length = spans.length(i), owner = (2 * before + length) * size / (2 * steps + 1);
            load = owner == thread ? load + length : length;
            thread = owner, before += length;
            if (load > heaviest) heaviest = load;
            if (owner == rank) order_[count_++] = i;
        }
        if (8 * size * heaviest > 9 * steps) deal(spans, size, rank);
        sort(spans, count_);
    }

    int64_t count() const { return count_; }
    int64_t operator[](int64_t i) const { return order_ ? order_[i] : first_ + i; }

  private:
    void deal(const Spans& spans, int64_t size, int64_t rank) {
        for (int64_t i = 0; i < spans.count; ++i) order_[i] = i;
        sort(spans, spans.count);
        count_ = 0;
        for (int64_t i = 0; i < spans.count; ++i) {
            const int64_t round = i / size, place = i % size;
            if ((round % 2 == 0 ? place : size - 1 - place) == rank) order_[count_++] = order_[i];
        }
    }

    // By Shell's method.
    void sort(const Spans& spans, int64_t count) {
        const auto behind = [&](int64_t a, int64_t b) {
            return spans.length(a) != spans.length(b) ? spans.length(a) < spans.length(b) : a > b;
        };
        for (int64_t gap = count / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11)
            for (int64_t i = gap; i < count; ++i) {
                const int64_t moved = order_[i];
                int64_t at = i;
                for (; at >= gap && behind(order_[at - gap], moved); at -= gap) order_[at] = order_[at - gap];
                order_[at] = moved;
            }
    }

    int64_t* order_ = nullptr;
    int64_t first_ = 0, count_ = 0;
};

// Sequences that are walked together.
struct SequenceBlock {
    int count;
    int64_t sequence[kBlockSequences], first[kBlockSequences], length[kBlockSequences];

    [[gnu::noinline]] SequenceBlock(const Spans& spans, const SequencesOfThread& mine, int64_t from, int64_t end)
        : count(static_cast<int>(end - from)) {
        for (int i = 0; i < count; ++i) {
            sequence[i] = mine[from + i];
            first[i] = spans.first(sequence[i]), length[i] = spans.length(sequence[i]);
        }
    }
    int64_t steps() const { return length[0]; }
    // Those that have a step t.
    int active(int64_t t, int most) const {
        while (most > 0 && length[most - 1] <= t) --most;
        return most;
    }
    // The row of step t of the i-th sequence, in the order in which steps are walked.
    int64_t row(int i, int64_t t, bool reverse) const { return reverse ? first[i] + length[i] - 1 - t : first[i] + t; }
};

// Calls f(block) for the blocks of a thread's sequences, which are of equal size.
template <class F>
void for_each_sequence_block(const Spans& spans, const SequencesOfThread& mine, F&& f) {
    const int64_t blocks = (mine.count() + kBlockSequences - 1) / kBlockSequences;
    for (int64_t b = 0; b < blocks; ++b)
        f(SequenceBlock(spans, mine, mine.count() * b / blocks, mine.count() * (b + 1) / blocks));
}

// Copies the states of a block's sequences from a matrix, whose absence stands for zeros, or back into one.
template <class T>
[[gnu::noinline]] void get_states(const SequenceBlock& block, const MatrixView<const T>& states, int64_t units, T* to,
                                  int64_t to_row) {
    for (int i = 0; i < block.count; ++i)
        for (int64_t j = 0; j < units; ++j) to[i * to_row + j] = states ? states(block.sequence[i], j) : T(0);
}
template <class T>
[[gnu::noinline]] void put_states(const SequenceBlock& block, const T* from, int64_t from_row, int64_t units,
                                  const MatrixView<T>& states) {
    if (!states) return;
    for (int i = 0; i < block.count; ++i)
        for (int64_t j = 0; j < units; ++j) states(block.sequence[i], j) = from[i * from_row + j];
}

// Vectors of a step's gates, for some units from j on: of a row whose gates lie side by side.
template <int kGates, class T>
STEEPEST_HD void load_gates(const T* row, int64_t units, int64_t j, int lanes, Vec<T>* gate) {
    for (int g = 0; g < kGates; ++g) gate[g] = row ? load_items(row + g * units + j, 1, lanes) : Vec<T>(0);
}
template <int kGates, class T>
STEEPEST_HD void store_gates(const Vec<T>* gate, T* row, int64_t units, int64_t j, int lanes) {
    for (int g = 0; g < kGates; ++g) store_items(gate[g], row + g * units + j, 1, lanes);
}

// The numbers of a unit at the step before: in the row of that step, or among the first states of the block.
template <class T>
STEEPEST_HD const T* before_step(const MatrixView<const T>& rows, const SequenceBlock& block, int i, int64_t t,
                                 bool reverse, const T* first_states, int64_t states_row) {
    return t > 0 ? rows.row(block.row(i, t - 1, reverse)) : first_states + i * states_row;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
