// Products of windows over images, as implicit matrix products: the rows of a are gathered from the image while tiles
// are fetched, so that no window is copied to memory. Groups of few columns have a kernel of their own.
#include "cuda/convolution_product.h"

#include "cuda/device/line_loader.cuh"
#include "cuda/gemm_launch.cuh"
#include "ops/conv2d.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// The outputs of an axis from `first_output` on, a stride apart, and the taps that reach them.
struct Phase {
    int64_t outputs, taps, first_tap, first_source;

    __device__ Phase(const PhaseAxis& axis, int64_t first_output) : taps(0), first_tap(0), first_source(0) {
        const TapAxis& w = axis.window;
        outputs = (axis.outputs - first_output + w.stride - 1) / w.stride;
        const int64_t rest = (first_output + w.before) % w.stride;
        const int64_t candidates = w.size < axis.tap_step ? w.size : axis.tap_step;
        while (first_tap < candidates && first_tap * w.dilation % w.stride != rest) ++first_tap;
        if (first_tap == candidates) return;
        taps = (w.size - first_tap + axis.tap_step - 1) / axis.tap_step;
        first_source = (first_output + w.before - first_tap * w.dilation) / w.stride;
    }
};

template <class T>
__device__ ProductLines lines_of(const ConvolutionProduct<T>& p, int64_t phase) {
    ProductLines lines = p.lines;
    if (!p.has_phases) return lines;
    const int64_t row = phase / p.across.phases(), column = phase % p.across.phases();
    const Phase down(p.down, row), across(p.across, column);
    lines.a_rows.extent[1] = lines.c_rows.extent[1] = lines.beside_rows.extent[1] = down.outputs;
    lines.a_rows.extent[2] = lines.c_rows.extent[2] = lines.beside_rows.extent[2] = across.outputs;
    lines.a_inner.extent[0] = lines.b_inner.extent[0] = down.taps;
    lines.a_inner.extent[1] = lines.b_inner.extent[1] = across.taps;
    lines.a_rows.start = down.first_source * lines.a_rows.step[1] + across.first_source * lines.a_rows.step[2];
    lines.b_inner.start = down.first_tap * p.down.weight_stride + across.first_tap * p.across.weight_stride;
    lines.c_rows.start = row * p.down.c_stride + column * p.across.c_stride;
    lines.beside_rows.start = row * p.down.beside_stride + column * p.across.beside_stride;
    return lines;
}

template <class T>
__device__ __forceinline__ bool is_within(const ConvolutionProduct<T>& p, const Spot& spot) {
    return spot.row >= 0 && spot.row < p.height && spot.column >= 0 && spot.column < p.width;
}

// How the work is divided over blocks: every unit is a tile, or some items, and each of its parts a block.
struct ConvolutionPlan {
    int64_t units, parts, inner_per_part;
    int64_t down, across;  // tiles of a group and phase
    Walk a_walk, b_walk;
    bool vector_stores;
    bool columns_first;  // whether neighbouring threads take neighbouring columns of c
    void* partials;      // results of the parts of k, if there are several
    unsigned* tickets;
};

// ------------------------------------------------------------------------------------------------------------ tiles

template <class Tile>
struct ConvolutionMemory {
    GemmMemory<Tile, NoUpdate> ring;
    SharedArray<Spot, Tile::kRows> a_rows;
    SharedArray<int64_t, Tile::kRows> c_rows, beside_rows;
    SharedArray<ProductLines, 1> lines;
    SharedArray<Walking<Spot>, 1> a_walking;
    SharedArray<Walking<int64_t>, 1> b_walking;
};

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads)
    convolution_kernel(Guard guard, ConvolutionProduct<typename Tile::T> p, ConvolutionPlan plan) {
    using T = typename Tile::T;
    using Ring = GemmMemory<Tile, NoUpdate>;
    using LoadA = LineLoader<T, Spot, Tile::kRows, Tile::kInner, Ring::kAStride, Tile::kThreads>;
    using LoadB = LineLoader<T, int64_t, Tile::kCols, Tile::kInner, Ring::kBStride, Tile::kThreads>;
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<ConvolutionMemory<Tile>>();
    Ring& ring = memory.ring;
    const int thread = static_cast<int>(threadIdx.x);
    const int64_t unit = blockIdx.x % plan.units, part = blockIdx.x / plan.units;
    const int64_t col = unit % plan.across * Tile::kCols, group = unit / plan.across % p.groups;
    const int64_t rest = unit / plan.across / p.groups, tile_down = rest % plan.down, phase = rest / plan.down;
    const int64_t row = tile_down * Tile::kRows;

    if (thread == 0) {
        const ProductLines lines = lines_of(p, phase);
        memory.lines[0] = lines;
        memory.a_walking[0] = Walking<Spot>(lines.a_inner, LoadA::numbers_between(plan.a_walk));
        memory.b_walking[0] = Walking<int64_t>(lines.b_inner, LoadB::numbers_between(plan.b_walk));
    }
    __syncthreads();  // the lines are written
    const ProductLines lines = memory.lines[0];
    const int64_t rows = lines.a_rows.size(), inner = lines.a_inner.size();
    if (row >= rows) return;  // this phase has fewer rows than the largest one
    static_assert(Tile::kRows <= Tile::kThreads);
    if (thread < Tile::kRows) {
        const bool exists = row + thread < rows;
        constexpr auto kOutside = static_cast<int32_t>(2 * ops::kLongestAxis);  // also after a step to a tap
        memory.a_rows[thread] = exists ? lines.a_rows.at(row + thread).place : Spot{0, kOutside, kOutside};
        memory.c_rows[thread] = exists ? lines.c_rows.at(row + thread).place : 0;
        memory.beside_rows[thread] = exists ? lines.beside_rows.at(row + thread).place : 0;
    }
    __syncthreads();  // the rows are written

    const T* const a = p.a + group * p.a_group;
    const T* const b = p.b + group * p.b_group + col * p.b_stride;
    const int64_t columns_left = p.columns - col;
    const auto find_a = [&](int i, const Spot& place, const T*& from) {
        const Spot spot = memory.a_rows[i] + place;
        from = a + spot.offset;
        return is_within(p, spot);
    };
    const auto find_b = [&](int j, int64_t place, const T*& from) {
        from = b + j * p.b_stride + place;
        return j < columns_left;
    };
    const int64_t begin = part * plan.inner_per_part;
    const int64_t end = begin + plan.inner_per_part < inner ? begin + plan.inner_per_part : inner;
    const int64_t tiles = begin < end ? (end - begin + Tile::kInner - 1) / Tile::kInner : 0;
    LoadA load_a(plan.a_walk, lines.a_inner, begin, end);
    LoadB load_b(plan.b_walk, lines.b_inner, begin, end);
    Tile product;
    // One thread sums each column of b, in the tiles of the first row.
    static_assert(Tile::kCols <= Tile::kThreads);
    const bool sums_b = p.b_sums && tile_down == 0 && thread < Tile::kCols;
    T b_sum = T(0);
    multiply_tiles(product, b_sum, sums_b, ring, tiles, [&](int place) {
        load_a.fetch(ring.a, place * Ring::kATile, memory.a_walking[0], find_a);
        load_b.fetch(ring.b, place * Ring::kBTile, memory.b_walking[0], find_b);
    });
    if (plan.parts > 1) {
        T* const partials = static_cast<T*>(plan.partials) + unit * plan.parts * kPartItems<Tile>;
        if (!add_parts(product, b_sum, sums_b, partials, part, plan.parts, plan.tickets + unit, ring.last)) return;
    }

    // The tile goes through shared memory, as in gemm_kernel.
    using Passes = RowPasses<Tile, NoUpdate>;
    const MatrixView<T> c{p.c + group * p.columns * p.c_stride, 0, 0, 1, p.c_stride};
    for (int first = 0; first < Tile::kRows; first += Passes::kRows) {
        __syncthreads();  // the last tile has been multiplied, or the rows of the last pass have been read
        product.for_each_run([&](int i, int j, const Vector<T, Tile::kWidth>& run) {
            if (i >= first && i < first + Passes::kRows)
                store_shared<Tile::kWidth>(ring.a, (i - first) * Passes::kStride + j, run);
        });
        __syncthreads();  // the rows of this pass are written
        with_epilogue(p.epilogue, [&](auto&& finish) {
            for (int e = thread; e < Passes::kRows * Passes::kRuns; e += Tile::kThreads) {
                const int i = e / Passes::kRuns, across = e % Passes::kRuns * Passes::kWidth;
                const int64_t j = col + across, left = p.columns - j;
                if (row + first + i >= rows || left <= 0) continue;
                Vector<T, Passes::kWidth> run = load_shared<Passes::kWidth>(ring.a, i * Passes::kStride + across);
                const int64_t at = memory.c_rows[first + i], beside = memory.beside_rows[first + i];
                if (p.epilogue.accumulate) {
                    const auto before = load_run<Passes::kWidth>(c, at, j, left, plan.vector_stores);
#pragma unroll
                    for (int l = 0; l < Passes::kWidth; ++l) run[l] += before[l];
                }
#pragma unroll
                for (int l = 0; l < Passes::kWidth; ++l)
                    if (l < left) run[l] = finish(run[l], beside, group * p.columns + j + l);
                store_run<Passes::kWidth>(c, at, j, left, plan.vector_stores, run);
            }
        });
    }
    if (sums_b && thread < columns_left) {
        T& to = p.b_sums[group * p.columns + col + thread];
        to = p.epilogue.accumulate ? to + b_sum : b_sum;
    }
}

// ------------------------------------------------------------------------------------------- groups of few columns

constexpr int kNarrowThreads = 256;
constexpr int64_t kNarrowColumns = 4;  // columns of a group that would leave a tile nearly empty

template <class T>
struct NarrowMemory {
    SharedArray<T, kNarrowThreads> sums, b_sums;
    SharedArray<ProductLines, 1> lines;
    SharedArray<int, 1> last;
};

// A thread for each slice of the sum of an item; the first slice adds up the others.
template <class T, int Slices>
__global__ void __launch_bounds__(kNarrowThreads)
    narrow_kernel(Guard guard, ConvolutionProduct<T> p, ConvolutionPlan plan) {
    constexpr int kItems = kNarrowThreads / Slices;
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<NarrowMemory<T>>();
    const int thread = static_cast<int>(threadIdx.x), slice = thread / kItems;
    const int64_t unit = blockIdx.x % plan.units, part = blockIdx.x / plan.units;
    const int64_t item = unit % plan.down * kItems + thread % kItems;
    if (thread == 0) memory.lines[0] = lines_of(p, unit / plan.down);
    __syncthreads();  // the lines are written
    const ProductLines lines = memory.lines[0];
    const int64_t rows = lines.a_rows.size(), columns = p.groups * p.columns;
    const bool exists = item < rows * columns;
    const int64_t row = plan.columns_first ? item / columns : item % rows;
    const int64_t column = plan.columns_first ? item % columns : item / rows, group = column / p.columns;
    const bool sums_b = p.b_sums && exists && row == 0;

    T sum = T(0), b_sum = T(0);
    if (exists) {
        const T* const a = p.a + group * p.a_group;
        const T* const b = p.b + group * p.b_group + column % p.columns * p.b_stride;
        const Spot of_row = lines.a_rows.at(row).place;
        const int64_t inner = lines.a_inner.size(), begin = part * plan.inner_per_part;
        const int64_t end = begin + plan.inner_per_part < inner ? begin + plan.inner_per_part : inner;
        Point<Spot> of_a = lines.a_inner.at(begin + slice);
        Point<int64_t> of_b = lines.b_inner.at(begin + slice);
        const Walking<Spot> a_walking(lines.a_inner, Slices);
        const Walking<int64_t> b_walking(lines.b_inner, Slices);
        for (int64_t k = begin + slice; k < end; k += Slices) {
            const Spot spot = of_row + of_a.place;
            const T right = b[of_b.place];
            sum = std::fma(is_within(p, spot) ? a[spot.offset] : T(0), right, sum);
            b_sum += right;
            a_walking.advance(of_a), b_walking.advance(of_b);
        }
    }
    if constexpr (Slices > 1) {
        memory.sums[thread] = sum, memory.b_sums[thread] = b_sum;
        __syncthreads();  // the sums of all slices are written
        if (slice == 0)
            for (int s = 1; s < Slices; ++s)
                sum += memory.sums[thread + s * kItems], b_sum += memory.b_sums[thread + s * kItems];
    }
    if (plan.parts > 1) {
        T* const unit_partials = static_cast<T*>(plan.partials) + unit * plan.parts * 2 * kItems;
        T* const mine = unit_partials + part * 2 * kItems;
        if (slice == 0) mine[thread] = sum, mine[kItems + thread] = b_sum;
        if (!is_last_block(plan.tickets + unit, static_cast<unsigned>(plan.parts), memory.last)) return;
        sum = b_sum = T(0);
        if (slice == 0)
            for (int64_t q = 0; q < plan.parts; ++q)
                sum += unit_partials[q * 2 * kItems + thread], b_sum += unit_partials[q * 2 * kItems + kItems + thread];
    }
    if (slice > 0 || !exists) return;
    T& to = p.c[lines.c_rows.at(row).place + column * p.c_stride];
    if (p.epilogue.accumulate) sum += to;
    with_epilogue(p.epilogue, [&](auto&& finish) { to = finish(sum, lines.beside_rows.at(row).place, column); });
    if (sums_b) p.b_sums[column] = p.epilogue.accumulate ? p.b_sums[column] + b_sum : b_sum;
}

// --------------------------------------------------------------------------------------------------------- launching

template <class T>
int64_t phases_of(const ConvolutionProduct<T>& p) {
    return p.has_phases ? p.down.phases() * p.across.phases() : 1;
}

template <class T>
bool are_vectors(const T* data, std::initializer_list<int64_t> steps) {
    bool whole = reinterpret_cast<uintptr_t>(data) % 16 == 0;
    for (const int64_t step : steps) whole = whole && step % kVectorWidth<T> == 0;
    return whole;
}

// Along the rows of a, only channels follow one another in one row of the image.
template <class T>
Walk a_walk_of(const ConvolutionProduct<T>& p) {
    const Line<Spot>&rows = p.lines.a_rows, &inner = p.lines.a_inner;
    const bool in_row = rows.step[2].offset == 1 && rows.step[2].column == 0 && rows.extent[2] % kVectorWidth<T> == 0;
    if (in_row &&
        are_vectors(p.a, {p.a_group, rows.start.offset, rows.step[0].offset, rows.step[1].offset, inner.start.offset,
                          inner.step[0].offset, inner.step[1].offset, inner.step[2].offset}))
        return Walk::kVectors;
    return magnitude(rows.step[2].offset) <= magnitude(inner.step[2].offset) ? Walk::kRows : Walk::kInner;
}

template <class T>
Walk b_walk_of(const ConvolutionProduct<T>& p) {
    const Line<int64_t>& inner = p.lines.b_inner;
    if (p.b_stride == 1 && are_vectors(p.b, {p.columns, p.b_group, inner.step[0], inner.step[1], inner.step[2],
                                             p.down.weight_stride, p.across.weight_stride}))
        return Walk::kVectors;
    return magnitude(p.b_stride) <= magnitude(inner.step[2]) ? Walk::kRows : Walk::kInner;
}

// Gives the parts their memory and returns the number of blocks.
template <class T>
unsigned hand_out_memory(ConvolutionPlan& plan, int64_t part_items, Stream& stream) {
    plan.tickets = stream.state.tickets();
    if (plan.parts > 1) plan.partials = stream.state.workspace(plan.units * plan.parts * part_items * sizeof(T));
    return static_cast<unsigned>(plan.units * plan.parts);
}

template <class Tile, class T>
void launch_tiles(const ConvolutionProduct<T>& p, const GemmPlan& of_gemm, Stream& stream) {
    const int64_t rows = p.lines.a_rows.size(), inner = p.lines.a_inner.size();
    ConvolutionPlan plan{};
    plan.down = blocks_for(rows, Tile::kRows), plan.across = blocks_for(p.columns, Tile::kCols);
    plan.units = plan.down * plan.across * p.groups * phases_of(p);
    plan.parts = of_gemm.parts, plan.inner_per_part = of_gemm.inner_per_part;
    if (plan.units > kTickets) plan.parts = 1, plan.inner_per_part = inner;
    plan.a_walk = a_walk_of(p), plan.b_walk = b_walk_of(p);
    const Line<int64_t>& c = p.lines.c_rows;
    plan.vector_stores = p.c_stride == 1 && are_vectors(p.c, {p.columns, c.step[0], c.step[1], c.step[2],
                                                              p.down.c_stride, p.across.c_stride});
    const unsigned blocks = hand_out_memory<T>(plan, kPartItems<Tile>, stream);
    launch_kernel(stream, convolution_kernel<Tile>, dim3(blocks), dim3(Tile::kThreads), sizeof(ConvolutionMemory<Tile>),
                  stream.guard(), p, plan);
}

template <int Slices, class T>
void launch_narrow(const ConvolutionProduct<T>& p, Stream& stream) {
    constexpr int64_t kItems = kNarrowThreads / Slices, kMostParts = 64, kLeast = 16;  // items of each thread's part
    const int64_t rows = p.lines.a_rows.size(), inner = p.lines.a_inner.size();
    ConvolutionPlan plan{};
    plan.down = blocks_for(rows * p.groups * p.columns, kItems);
    plan.units = plan.down * phases_of(p);
    plan.parts = 1;
    while (Slices > 1 && plan.parts < kMostParts && plan.units <= kTickets &&
           plan.units * plan.parts < 4 * stream.device.multiprocessors && 2 * plan.parts * Slices * kLeast <= inner)
        plan.parts *= 2;
    plan.inner_per_part = blocks_for(inner, plan.parts);
    plan.columns_first = magnitude(p.c_stride) <= magnitude(p.lines.c_rows.step[2]);
    const unsigned blocks = hand_out_memory<T>(plan, 2 * kItems, stream);
    launch_kernel(stream, narrow_kernel<T, Slices>, dim3(blocks), dim3(kNarrowThreads), sizeof(NarrowMemory<T>),
                  stream.guard(), p, plan);
}

}  // namespace

template <class T>
void convolution_product(const ConvolutionProduct<T>& p, Stream& stream) {
    using Kinds = Tiles<T, Precision::kFloat32>;
    using Large = typename Kinds::Large;
    using Medium = typename Kinds::Medium;
    using Small = typename Kinds::Small;
    constexpr int kSlices = 8;
    constexpr int64_t kLongSum = 256;  // from which on several threads share the sum of an item
    const int64_t rows = p.lines.a_rows.size(), inner = p.lines.a_inner.size();
    if (p.groups > 1 && p.columns <= kNarrowColumns)
        return inner < kLongSum ? launch_narrow<1>(p, stream) : launch_narrow<kSlices>(p, stream);
    // Groups and phases are as many products; for the plan, their rows are those of a single one.
    constexpr TileKind kKinds[] = {{Large::kRows, Large::kCols, Large::kInner, 0.85},
                                   {Medium::kRows, Medium::kCols, Medium::kInner, 0.7},
                                   {Small::kRows, Small::kCols, Small::kInner, 0.45}};
    const GemmPlan plan = plan_gemm(rows * p.groups * phases_of(p), p.columns, inner, false, kKinds, stream.device);
    switch (plan.kind) {
        case 0: return launch_tiles<Large>(p, plan, stream);
        case 1: return launch_tiles<Medium>(p, plan, stream);
        default: return launch_tiles<Small>(p, plan, stream);
    }
}

template void convolution_product(const ConvolutionProduct<float>& product, Stream& stream);
template void convolution_product(const ConvolutionProduct<double>& product, Stream& stream);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
