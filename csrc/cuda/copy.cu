#include "ops/copy.h"

#include "cuda/device/elementwise.cuh"
#include "cuda/device/guard.cuh"
#include "cuda/device/shared.cuh"
#include "cuda/device/tensors.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kTile = 32;                        // words on either side of a tile
constexpr int kTileLines = kMapThreads / kTile;  // that a block moves at once
constexpr int64_t kLeastTransposed = 8;          // words along each of two axes that pay for tiles

using LongWord = Vector<char, 16>;

template <class Word>
struct Words {
    const Word* x;
    Word* out;
    CommonAxes<2> axes;
    int64_t count;
};

template <class Word, class Index>
__global__ void __launch_bounds__(kMapThreads) copy_kernel(Guard guard, Words<Word> words) {
    if (is_stopped(guard)) return;
    Word taken[kMapVectors];
    Word* to[kMapVectors];
#pragma unroll
    for (int u = 0; u < kMapVectors; ++u) {
        const int64_t e = vector_of_thread(blockIdx.x, u);
        if (e >= words.count) break;
        int64_t offset[2];
        offsets_of(words.axes, static_cast<Index>(e), offset);
        taken[u] = words.x[offset[0]], to[u] = words.out + offset[1];
    }
#pragma unroll
    for (int u = 0; u < kMapVectors; ++u) {
        if (vector_of_thread(blockIdx.x, u) >= words.count) return;
        *to[u] = taken[u];
    }
}

// Matrices at places along the other axes: the words of a column lie closest together in x, those of a row in out.
template <class Word>
struct Transposition {
    const Word* x;
    Word* out;
    CommonAxes<2> axes;
    int64_t rows, cols;
    int64_t x_row_stride, x_col_stride, out_row_stride, out_col_stride;
    int64_t tiles_down, tiles_across;
};

// A word more in each line keeps the words of a column in different banks.
template <class Word>
struct TileMemory {
    using Slot = std::conditional_t<sizeof(Word) < 4, uint32_t, Word>;
    static constexpr int kPitch = kTile + 1;
    SharedArray<Slot, kTile * kPitch> words;
};

// A block moves a tile: its warps read along the columns and write along the rows.
template <class Word>
__global__ void __launch_bounds__(kMapThreads) transpose_kernel(Guard guard, Transposition<Word> m) {
    if (is_stopped(guard)) return;
    using Memory = TileMemory<Word>;
    auto& memory = shared_memory<Memory>();
    const int64_t tiles = m.tiles_down * m.tiles_across, tile = blockIdx.x % tiles;
    const int64_t i0 = tile / m.tiles_across * kTile, j0 = tile % m.tiles_across * kTile;
    int64_t offset[2];
    offsets_of(m.axes, static_cast<int64_t>(blockIdx.x / tiles), offset);
    const Word* const x = m.x + offset[0] + i0 * m.x_row_stride + j0 * m.x_col_stride;
    Word* const out = m.out + offset[1] + i0 * m.out_row_stride + j0 * m.out_col_stride;
    const int lane = static_cast<int>(threadIdx.x % kTile), line = static_cast<int>(threadIdx.x / kTile);
#pragma unroll
    for (int j = line; j < kTile; j += kTileLines)
        if (i0 + lane < m.rows && j0 + j < m.cols)
            memory.words[j * Memory::kPitch + lane] = x[lane * m.x_row_stride + j * m.x_col_stride];
    __syncthreads();  // the tile is there
#pragma unroll
    for (int i = line; i < kTile; i += kTileLines)
        if (i0 + i < m.rows && j0 + lane < m.cols) {
            const typename Memory::Slot word = memory.words[lane * Memory::kPitch + i];
            out[i * m.out_row_stride + lane * m.out_col_stride] = static_cast<Word>(word);
        }
}

template <class Word>
void launch_tiles(const TensorView<const Word>& x, const TensorView<Word>& out, int column_axis, Stream& stream) {
    const int last = out.axes - 1;
    Transposition<Word> m{x.data,
                          out.data,
                          {},
                          out.extent[column_axis],
                          out.extent[last],
                          x.stride[column_axis],
                          x.stride[last],
                          out.stride[column_axis],
                          out.stride[last],
                          blocks_for(out.extent[column_axis], kTile),
                          blocks_for(out.extent[last], kTile)};
    for (int d = 0; d < last; ++d)
        if (d != column_axis) m.axes.add(d, x, out);
    const dim3 grid(static_cast<unsigned>(m.axes.places() * m.tiles_down * m.tiles_across));
    launch_kernel(stream, transpose_kernel<Word>, grid, dim3(kMapThreads), sizeof(TileMemory<Word>), stream.guard(), m);
}

template <class Word>
void launch_words(const ops::Copy& op, Stream& stream) {
    const auto x = ops::in_words<const Word>(op.x);
    const auto out = ops::in_words<Word>(op.out);
    const int last = out.axes - 1;
    if constexpr (sizeof(Word) < sizeof(LongWord)) {
        const int closest = ops::closest_axis(x);
        if (closest != last && out.extent[closest] >= kLeastTransposed && out.extent[last] >= kLeastTransposed)
            return launch_tiles(x, out, closest, stream);
    }
    Words<Word> words{x.data, out.data, {}, out.size()};
    for (int d = 0; d <= last; ++d) words.axes.add(d, x, out);
    const dim3 grid(static_cast<unsigned>(blocks_for(words.count, kMapThreads * kMapVectors)));
    launch_kernel(stream, fits_small_index(words.count) ? copy_kernel<Word, uint32_t> : copy_kernel<Word, int64_t>,
                  grid, dim3(kMapThreads), 0, stream.guard(), words);
}

}  // namespace

void launch(const ops::Copy& op, Stream& stream) {
    if (op.x.data == op.out.data) return;  // its own items
    const auto lies_in_words = [&](int64_t bytes) { return is_in_words(op.x, bytes) && is_in_words(op.out, bytes); };
    if (lies_in_words(sizeof(LongWord))) return launch_words<LongWord>(op, stream);
    if (lies_in_words(8)) return launch_words<uint64_t>(op, stream);
    if (lies_in_words(4)) return launch_words<uint32_t>(op, stream);
    if (lies_in_words(2)) return launch_words<uint16_t>(op, stream);
    launch_words<uint8_t>(op, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
