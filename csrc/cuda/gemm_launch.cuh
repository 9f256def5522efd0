// Translates matrix products, as the operations describe them, to launches of gemm_kernel.
#pragma once

#include "cuda/device/mma_tile.cuh"
#include "cuda/device/simt_tile.cuh"
#include "cuda/device/vectors.cuh"
#include "cuda/gemm.cuh"
#include "cuda/gemm.h"
#include "cuda/gemm_plan.h"
#include "cuda/launch.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The kinds of tiles. Large ones need the fewest loads for a product; small ones occupy a device with a small result.
// Blocks of the precise kinds sum over k in the same order, whatever their size.
template <class T, Precision P>
struct Tiles {
    static_assert(std::is_same_v<T, float>, "tensor cores take float32 here");
    using Large = MmaTile<P, 128, 128, 64, 32>;
    using Medium = MmaTile<P, 64, 64, 32, 32>;
    using Small = MmaTile<P, 32, 32, 16, 16>;
};
template <>
struct Tiles<float, Precision::kFloat32> {
    using Large = SimtTile<float, 128, 128, 16, 8, 8>;
    using Medium = SimtTile<float, 64, 64, 16, 8, 4>;
    using Small = SimtTile<float, 32, 32, 16, 4, 4>;
};
template <>
struct Tiles<double, Precision::kFloat32> {
    using Large = SimtTile<double, 64, 64, 8, 4, 4>;
    using Medium = SimtTile<double, 64, 32, 8, 4, 4>;
    using Small = SimtTile<double, 32, 32, 16, 4, 4>;
};

template <class Kinds, class T>
GemmPlan plan_for(const GemmCall<T>& call, const Device& device) {
    using Large = typename Kinds::Large;
    using Medium = typename Kinds::Medium;
    using Small = typename Kinds::Small;
    constexpr TileKind kKinds[] = {{Large::kRows, Large::kCols, Large::kInner, 0.85},
                                   {Medium::kRows, Medium::kCols, Medium::kInner, 0.7},
                                   {Small::kRows, Small::kCols, Small::kInner, 0.45}};
    return plan_gemm(call.c.rows, call.c.cols, call.a.cols, static_cast<bool>(call.b_sums), kKinds, device);
}

// Collects the products of one launch, all with tiles of one kind.
template <class Tile, int N>
class GroupBuilder {
  public:
    using T = typename Tile::T;

    void add(const GemmCall<T>& call, const GemmPlan& plan) {
        Product<T>& g = group_.product[group_.count++];
        g.a = call.a, g.b_t = call.b.transposed(), g.c = call.c;
        g.epilogue = {call.bias, call.output, call.activation, call.addend, call.scale, call.accumulate};
        g.b_sums = call.b_sums;
        g.a_walk = walk_over(g.a), g.b_walk = walk_over(g.b_t);
        g.vector_stores = has_vector_rows(g.c);
        g.tiles_down = blocks_for(g.c.rows, Tile::kRows), g.tiles_across = blocks_for(g.c.cols, Tile::kCols);
        // The tiles of the first row compute the sums, so there must be one.
        if (g.b_sums && g.tiles_down == 0) g.tiles_down = 1;
        g.parts = plan.parts, g.inner_per_part = plan.inner_per_part;
        g.first_block = blocks_;
        blocks_ += g.tiles_down * g.tiles_across * g.parts;
    }

    template <class Update>
    void launch(const Update& update, Stream& stream) {
        hand_out_memory(stream);
        launch_kernel(stream, gemm_kernel<Tile, Update, N>, dim3(static_cast<unsigned>(blocks_)), dim3(Tile::kThreads),
                      sizeof(GemmMemory<Tile, Update>), stream.guard(), group_, update);
    }

  private:
    void hand_out_memory(Stream& stream) {
        int64_t items = 0, tickets = 0;
        const auto part_items = [](const Product<T>& g) {
            return g.parts > 1 ? g.tiles_down * g.tiles_across * g.parts * kPartItems<Tile> : 0;
        };
        for (int i = 0; i < group_.count; ++i) items += part_items(group_.product[i]);
        T* partials = items > 0 ? static_cast<T*>(stream.state.workspace(items * sizeof(T))) : nullptr;
        for (int i = 0; i < group_.count; ++i) {
            Product<T>& g = group_.product[i];
            g.partials = partials, g.tickets = stream.state.tickets() + tickets;
            partials += part_items(g);
            if (g.parts > 1) tickets += g.tiles_down * g.tiles_across;
        }
    }

    ProductGroup<T, N> group_;
    int64_t blocks_ = 0;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
