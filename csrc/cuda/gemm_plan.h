// Decides which tiles a matrix product is cut into, and whether blocks share them along the inner dimension.
#pragma once

#include <cstdint>

#include "cuda/launch.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

struct TileKind {
    int rows, cols, inner;
    double efficiency;  // estimated fraction of a multiprocessor's peak throughput that such tiles reach
};

struct GemmPlan {
    int kind = 0;
    int64_t parts = 1, inner_per_part = 0;
};

constexpr int64_t kMaxParts = 64;

// The plan with the least estimated time. It depends only on the shape and the number of multiprocessors.
inline GemmPlan plan_gemm(int64_t m, int64_t n, int64_t k, bool has_sums, const TileKind (&kinds)[3],
                          const Device& device) {
    // Costs in multiply-adds of a multiprocessor: of starting and ending a block, and of adding an item of a part.
    constexpr double kFixed = 150e3, kPerPartItem = 8;
    GemmPlan best;
    double least = 0;
    for (int kind = 0; kind < 3; ++kind) {
        const TileKind& tile = kinds[kind];
        GemmPlan plan;
        plan.kind = kind;
        const int64_t down = blocks_for(m, tile.rows), across = blocks_for(n, tile.cols);
        const int64_t tiles = (has_sums && down == 0 ? 1 : down) * across, inner_tiles = blocks_for(k, tile.inner);
        for (int64_t parts = 1; parts <= kMaxParts; parts *= 2) {
            if (parts > 1 && (tiles > kTickets || parts * 2 > inner_tiles)) break;
            plan.inner_per_part = blocks_for(inner_tiles > 0 ? inner_tiles : 1, parts) * tile.inner;
            plan.parts = parts == 1 ? 1 : blocks_for(k, plan.inner_per_part);
            const double waves = static_cast<double>(blocks_for(tiles * plan.parts, device.multiprocessors));
            const double items = static_cast<double>(tile.rows) * tile.cols;
            const double block = items * static_cast<double>(plan.inner_per_part) / tile.efficiency + kFixed;
            const double adding = plan.parts > 1 ? items * static_cast<double>(plan.parts) * kPerPartItem : 0;
            const double time = waves * block + adding;
            if (least == 0 || time < least) least = time, best = plan;
        }
    }
    return best;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
