// How a sum over rows is divided among the threads of a team: into chunks of whole blocks of rows, each with its own
// sums. The chunks depend on the shapes alone, so the result does not depend on the number of threads.
#pragma once

#include <cstdint>

namespace steepest::ops {

struct RowChunks {
    int64_t rows, block;  // number of all rows, and of the rows of a block
    int64_t count;        // number of chunks, at least 1

    // As many chunks as there are blocks, but at most kMost. With `items` numbers for the sums of a chunk, all chunks
    // together hold no more than `most_items` numbers.
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
