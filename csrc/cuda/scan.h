// Labels, weights and indices are checked before an operation writes anything. A few are checked by every block of the
// kernel that needs them, which saves a launch; many are checked by a separate kernel before it.
#pragma once

#include "cuda/launch.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

constexpr int kScanThreads = 256;
constexpr unsigned kMaxScanBlocks = 256;

inline bool every_block_looks(int64_t rows, int64_t blocks) {
    constexpr int64_t kRowsOfABlock = 4096, kRowsOfAllBlocks = 1 << 20;
    return rows <= kRowsOfABlock && rows * blocks <= kRowsOfAllBlocks;
}

// The grid of the separate kernel.
inline dim3 scan_grid(int64_t rows) {
    const int64_t wanted = blocks_for(rows, 4 * kScanThreads);
    return dim3(wanted < kMaxScanBlocks ? static_cast<unsigned>(wanted) : kMaxScanBlocks);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
