// What the three kernels of attention share. A thread works on the sequences and key heads whose tiles fall to it. It
// copies keys and values of a block into panels, which all tiles of queries of the group of heads then read.
#pragma once

#include "cpu/flush_subnormals.h"
#include "cpu/gemm_pack.h"
#include "cpu/pieces.h"
#include "cpu/run.h"
#include "cpu/softmax_row.h"
#include "cpu/spans.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
constexpr T kNegativeInfinity = -std::numeric_limits<T>::infinity();

// Whether every sequence lies within its arrays and its masks. If not, the team fails with the first that does not.
STEEPEST_HD bool check_sequences(const AttentionPattern& pattern, OperationNumber operation, Team& team) {
    if (!pattern.queries.table && !pattern.keys.table) return true;
    for (int64_t s = 0; s < pattern.queries.count; ++s) {
        if (!pattern.is_bad(s)) continue;
        team.fail(pattern.failure_of(s, operation));
        return false;
    }
    return true;
}

// One sequence and one head of keys.
struct AttentionUnit {
    int64_t first_query, queries, first_key, keys;
    int64_t key_head;

    STEEPEST_HD AttentionUnit(const AttentionPattern& pattern, int64_t sequence, int64_t head)
        : first_query(pattern.queries.first(sequence)),
          queries(pattern.queries.length(sequence)),
          first_key(pattern.keys.first(sequence)),
          keys(pattern.keys.length(sequence)),
          key_head(head) {}
};

STEEPEST_HD constexpr int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Rows of a block of queries, of nearly equal height, of which each is multiplied at once.
template <class T>
struct QueryTiles {
    int64_t queries, count;

    STEEPEST_HD explicit QueryTiles(int64_t n)
        : queries(n), count((n + TileShape<T>::kRows - 1) / TileShape<T>::kRows) {}
    STEEPEST_HD int64_t begin(int64_t tile) const { return queries * tile / count; }
};

// c (m, n) = a (m, k) @ b (k, n), or c += a @ b, where panel j of TileShape::kCols columns of b begins j * panel items
// behind the first, and its rows are b_k items apart.
template <class T>
STEEPEST_HD void multiply_panels(int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row, int64_t a_k, const T* b,
                                 int64_t b_k, int64_t panel, T* c, int64_t c_row, bool accumulate) {
    constexpr int kCols = TileShape<T>::kCols;
    const QueryTiles<T> tiles(m);
    for (int64_t j = 0; j < n; j += kCols, b += panel) {
        const int cols = static_cast<int>(n - j < kCols ? n - j : kCols);
        for (int64_t t = 0; t < tiles.count; ++t) {
            const int64_t i = tiles.begin(t);
            multiply_tile(static_cast<int>(tiles.begin(t + 1) - i), cols, k, a + i * a_row, a_row, a_k, b, b_k,
                          c + i * c_row + j, c_row, accumulate);
        }
    }
}

// Rows of `width` items, `to_row` apart, as factor * (those of m from row i and column j).
template <class T>
STEEPEST_HD void copy_scaled(const MatrixView<const T>& m, int64_t i, int64_t rows, int64_t j, int64_t width, T factor,
                             T* to, int64_t to_row) {
    const Vec<T> scale(factor);
    for (int64_t r = 0; r < rows; ++r) {
        const T* const from = m.row(i + r) + j;
        for_each_vector<T>(0, width, [=](int64_t l, int lanes) {
            store_items(scale * load_items(from + l, 1, lanes), to + r * to_row + l, 1, lanes);
        });
    }
}

// Scores of the keys j0 .. j0 + n that a mask hides become -infinity.
template <class T>
STEEPEST_HD void hide(const MatrixView<const uint8_t>& mask, int64_t row, int64_t j0, int64_t n, T* scores) {
    using V = Vec<T>;
    if (!mask) return;
    if (mask.col_stride != 1) {
        for (int64_t j = 0; j < n; ++j)
            if (mask(row, j0 + j) == 0) scores[j] = kNegativeInfinity<T>;
        return;
    }
    const uint8_t* const passes = mask.row(row) + j0;
    for_each_vector<T>(0, n, [=](int64_t j, int lanes) {
        const V shown = load_bytes<T>(passes + j, lanes);
        store_items(select(shown > V(0), load_items<T>(scores + j, 1, lanes), V(kNegativeInfinity<T>)), scores + j, 1,
                    lanes);
    });
}

// The same for both masks, of query i.
template <class T>
STEEPEST_HD void hide(const AttentionPattern& pattern, const AttentionUnit& unit, int64_t i, int64_t j0, int64_t n,
                      T* scores) {
    hide(pattern.mask, unit.first_query + i, j0, n, scores), hide(pattern.shared_mask, i, j0, n, scores);
}

// The keys from j0 on, at most n, that query i may attend to but for the masks.
STEEPEST_HD int64_t visible_in_block(const AttentionPattern& pattern, const AttentionUnit& unit, int64_t i, int64_t j0,
                                     int64_t n) {
    const int64_t seen = pattern.visible(i, unit.queries, unit.keys) - j0;
    return seen < 0 ? 0 : seen < n ? seen : n;
}

// The keys of a block, or their values, as an operand of products: in place, and in panels unless the product is direct.
template <class T>
struct KeyOperand {
    MatrixView<const T> rows;  // (keys of the block, width)
    T* panels;                 // for scores of the transpose, for values of the rows
    bool is_direct;

    KeyOperand(const MatrixView<const T>& m, const AttentionUnit& unit, int64_t j0, int64_t n, int64_t width, T* memory,
               bool direct)
        : rows{m.row(unit.first_key + j0) + unit.key_head * width, n, width, m.row_stride, 1},
          panels(memory),
          is_direct(direct) {}
};

// The scores (rows, n) of rows of queries q, of the width of the keys, with the first n keys.
template <class T>
STEEPEST_HD void multiply_keys(int64_t rows, int64_t n, const T* q, const KeyOperand<T>& keys, T* scores,
                               int64_t stride, bool accumulate) {
    constexpr int64_t kCols = TileShape<T>::kCols;
    const int64_t width = keys.rows.cols;
    if (!keys.is_direct)
        return multiply_panels<T>(rows, n, width, q, width, 1, keys.panels, kCols, width * kCols, scores, stride,
                                  accumulate);
    for (int64_t r = 0; r < rows; ++r)
        multiply_column(static_cast<int>(n), width, keys.rows.data, keys.rows.row_stride, q + r * width,
                        scores + r * stride, 1, accumulate);
}

// to (rows, width) = p (rows, n) @ the first n values, or to += ..., with `stage` for a direct sum of this shape.
template <class T>
STEEPEST_HD void multiply_values(int64_t rows, int64_t n, const T* p, int64_t stride, const KeyOperand<T>& values,
                                 T* to, int64_t to_row, bool accumulate, T* stage) {
    constexpr int64_t kCols = TileShape<T>::kCols;
    const int64_t width = values.rows.cols;
    if (!values.is_direct)
        return multiply_panels<T>(rows, width, n, p, stride, 1, values.panels, kCols, values.rows.rows * kCols, to,
                                  to_row, accumulate);
    T* const sums = accumulate ? stage : to;
    const int64_t sums_row = accumulate ? width : to_row;
    multiply_rows(static_cast<int>(rows), width, n, p, stride, 1, values.rows.data, values.rows.row_stride, sums,
                  sums_row);
    if (!accumulate) return;
    for (int64_t r = 0; r < rows; ++r)
        for_each_vector<T>(0, width, [=](int64_t l, int lanes) {
            T* const at = to + r * to_row + l;
            store_items(load_items<T>(at, 1, lanes) + load_items<T>(sums + r * sums_row + l, 1, lanes), at, 1, lanes);
        });
}

template <class T>
STEEPEST_HD void pack_keys(const KeyOperand<T>& keys) {
    if (!keys.is_direct && keys.rows.rows > 0)
        pack_panels(keys.rows.transposed(), 0, keys.rows.cols, 0, keys.rows.rows, keys.panels);
}

template <class T>
STEEPEST_HD void pack_values(const KeyOperand<T>& values) {
    if (!values.is_direct && values.rows.rows > 0)
        pack_panels(values.rows, 0, values.rows.rows, 0, values.rows.cols, values.panels);
}

// A tile of queries, of one head, and the keys of a block that it sees.
struct QueryTile {
    int64_t number, head;  // number within its run
    int64_t first, rows;   // first query within its sequence
    int64_t seen;          // keys of the block that its last query may attend to
    bool is_last;          // whether it sees no keys of later blocks
};

// The tiles begin .. end of a unit, block of keys by block of keys.
template <class T>
class QueryRun {
  public:
    QueryRun(const AttentionPattern& pattern, const AttentionUnit& unit, int64_t begin, int64_t end)
        : pattern_(pattern), unit_(unit), tiles_(unit.queries), begin_(begin), end_(end) {}

    const AttentionUnit& unit() const { return unit_; }
    int64_t count() const { return end_ - begin_; }

    // Few queries of a head are multiplied with keys where they are: panels would be read too seldom.
    bool is_direct() const { return unit_.queries <= kStreamedRows; }

    // Calls f(j0, n, seen) for blocks of n keys from j0 on, of which the tiles see at most `seen`. The first block is
    // there even without keys, since with it results are written.
    template <class F>
    void for_each_block(int64_t most, F&& f) const {
        for (int64_t j0 = 0; j0 == 0 || j0 < unit_.keys; j0 += most) {
            const int64_t n = unit_.keys - j0 < most ? unit_.keys - j0 : most;
            int64_t seen = 0;
            for (int64_t t = begin_; t < end_; ++t) {
                const int64_t own = visible_in_block(pattern_, unit_, last_query(t), j0, n);
                seen = own > seen ? own : seen;
            }
            if (j0 > 0 && seen == 0) return;
            f(j0, n, seen);
        }
    }

    // Calls f(tile) for the tiles that see keys of the block, and for all in the first block.
    template <class F>
    void for_each_tile(int64_t j0, int64_t n, F&& f) const {
        for (int64_t t = begin_; t < end_; ++t) {
            const int64_t seen = visible_in_block(pattern_, unit_, last_query(t), j0, n);
            if (j0 > 0 && seen == 0) continue;
            const int64_t first = tiles_.begin(t % tiles_.count);
            f(QueryTile{t - begin_, unit_.key_head * pattern_.group() + t / tiles_.count, first,
                        last_query(t) + 1 - first, seen,
                        j0 + n >= pattern_.visible(last_query(t), unit_.queries, unit_.keys)});
        }
    }

  private:
    int64_t last_query(int64_t t) const { return tiles_.begin(t % tiles_.count + 1) - 1; }

    const AttentionPattern& pattern_;
    const AttentionUnit unit_;
    const QueryTiles<T> tiles_;
    int64_t begin_, end_;
};

// The keys of a block of a unit: as many as all tiles of queries read from the second-level cache, if the operands of a
// key have `widths` items in all.
template <class T>
STEEPEST_HD int64_t keys_of_block(const AttentionUnit& unit, int64_t widths) {
    constexpr int64_t kBytes = 256 << 10, kMost = 512, kLeast = 64;
    const int64_t fitting = kBytes / static_cast<int64_t>(sizeof(T)) / widths / 32 * 32;
    const int64_t most = fitting < kLeast ? kLeast : fitting < kMost ? fitting : kMost;
    return unit.keys < 1 ? 1 : unit.keys < most ? unit.keys : most;
}

// A Memory of pieces of the thread's scratch memory, whose constructor takes them.
template <class Memory, class... Sizes>
STEEPEST_HD Memory take_memory(Team& team, const Sizes&... sizes) {
    Pieces counted;
    Memory(counted, sizes...);
    Pieces pieces(team.scratch(counted.used()));
    return Memory(pieces, sizes...);
}

// Divides the tiles of queries of all units among the threads by the number of their scores, and calls f(unit, begin,
// end) for each unit's tiles that fall to this thread. The tiles of a unit are those of its first head, then those of
// the next head.
template <class T, class F>
STEEPEST_HD void for_each_run_of_tiles(const AttentionPattern& pattern, Team& team, F&& f) {
    constexpr int64_t kTileCost = 16;  // of a tile apart from its scores, in keys
    const auto cost_of_tile = [&](const AttentionUnit& unit, const QueryTiles<T>& tiles, int64_t t) {
        const int64_t last = tiles.begin(t + 1) - 1;
        return pattern.visible(last, unit.queries, unit.keys) + kTileCost;
    };
    const auto cost_of_head = [&](const AttentionUnit& unit, const QueryTiles<T>& tiles) {
        if (!pattern.causal) return tiles.count * (unit.keys + kTileCost);
        int64_t cost = 0;
        for (int64_t t = 0; t < tiles.count; ++t) cost += cost_of_tile(unit, tiles, t);
        return cost;
    };
    int64_t total = 0;
    for (int64_t s = 0; s < pattern.queries.count; ++s) {
        const AttentionUnit unit(pattern, s, 0);
        total += pattern.heads * cost_of_head(unit, QueryTiles<T>(unit.queries));
    }
    const int64_t begin = total * team.rank() / team.size(), end = total * (team.rank() + 1) / team.size();
    int64_t at = 0;
    for (int64_t s = 0; s < pattern.queries.count && at < end; ++s) {
        AttentionUnit unit(pattern, s, 0);
        const QueryTiles<T> tiles(unit.queries);
        const int64_t head_cost = cost_of_head(unit, tiles), unit_cost = pattern.group() * head_cost;
        for (; unit.key_head < pattern.key_heads && at < end; ++unit.key_head, at += unit_cost) {
            if (at + unit_cost <= begin) continue;
            // A tile belongs to the thread in whose part it begins.
            const int64_t count = pattern.group() * tiles.count;
            int64_t first = count, last = count, place = at;
            for (int64_t t = 0; t < count; ++t) {
                if (place >= begin && first == count) first = t;
                if (place >= end) {
                    last = t;
                    break;
                }
                place += cost_of_tile(unit, tiles, t % tiles.count);
            }
            if (first < last) f(unit, first, last);
        }
    }
}

// Divides the units among the threads by the number of their scores, and calls f(unit) for those of this thread. Which
// units a thread gets follows from the lengths alone, and a unit is not divided.
template <class F>
STEEPEST_HD void for_each_unit(const AttentionPattern& pattern, Team& team, F&& f) {
    constexpr int64_t kUnitCost = 64;  // of a unit apart from its scores
    const auto cost_of = [&](const AttentionUnit& unit) {
        const int64_t unseen = pattern.causal ? (unit.queries < unit.keys ? unit.queries : unit.keys) / 2 : 0;
        return unit.queries * (unit.keys - unseen) + kUnitCost;
    };
    int64_t total = 0;
    for (int64_t s = 0; s < pattern.queries.count; ++s)
        total += pattern.key_heads * cost_of(AttentionUnit(pattern, s, 0));
    const int64_t begin = total * team.rank() / team.size(), end = total * (team.rank() + 1) / team.size();
    int64_t at = 0;
    for (int64_t s = 0; s < pattern.queries.count; ++s) {
        AttentionUnit unit(pattern, s, 0);
        const int64_t cost = cost_of(unit);
        for (; unit.key_head < pattern.key_heads; ++unit.key_head, at += cost) {
            const int64_t middle = at + cost / 2;
            if (middle >= begin && middle < end) f(unit);
        }
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
