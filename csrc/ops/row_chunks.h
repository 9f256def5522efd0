// How operations share out rows whose sums the members of a team cannot add up in one place: in chunks of whole blocks,
// which depend on the shapes alone, each with sums of its own.
#pragma once

#include <cstdint>

namespace steepest::ops {

struct RowChunks {
    int64_t rows, block;  // all rows, and those of a block
    int64_t count;        // of chunks, at least 1

    // As many chunks as there are blocks, but with no more than `most_items` items of sums in all, `items` a chunk.
    RowChunks(int64_t n, int64_t block_rows, int64_t items, int64_t most_items) : rows(n), block(block_rows) {
        constexpr int64_t kMost = 64;
        count = (n + block - 1) / block;
        if (count > kMost) count = kMost;
        if (count * items > most_items) count = most_items / items;
        if (count < 1) count = 1;
    }

    int64_t begin(int64_t chunk) const {
        const int64_t blocks = (rows + block - 1) / block, row = blocks * chunk / count * block;
        return row < rows ? row : rows;
    }
};

}  // namespace steepest::ops
