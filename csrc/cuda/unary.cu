#include "cuda/device/elementwise.cuh"
#include "cuda/device/guard.cuh"
#include "cuda/device/lane.cuh"
#include "cuda/device/tensors.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T>
struct Operands {
    const T* x;
    T* out;
    CommonAxes<2> axes;  // of x and out, in vectors along the last one
    int64_t vectors;
    UnaryFormula formula;
};

// W items at a time.
template <int W, class Index, class T>
__global__ void __launch_bounds__(kMapThreads) unary_kernel(Guard guard, Operands<T> p) {
    if (is_stopped(guard)) return;
    with_formula(p.formula, [&](auto formula) {
        using V = Vector<T, W>;
        V x[kMapVectors];
        T* to[kMapVectors];
#pragma unroll
        for (int u = 0; u < kMapVectors; ++u) {
            const int64_t e = vector_of_thread(blockIdx.x, u);
            if (e >= p.vectors) break;
            int64_t offset[2];
            offsets_of(p.axes, static_cast<Index>(e), offset);
            x[u] = *reinterpret_cast<const V*>(p.x + offset[0]), to[u] = p.out + offset[1];
        }
#pragma unroll
        for (int u = 0; u < kMapVectors; ++u) {
            if (vector_of_thread(blockIdx.x, u) >= p.vectors) return;
            V out;
#pragma unroll
            for (int l = 0; l < W; ++l) out[l] = formula.value(Lane<T>(x[u][l])).value;
            *reinterpret_cast<V*>(to[u]) = out;
        }
    });
}

}  // namespace

template <class T>
void launch(const ops::Unary<T>& op, Stream& stream) {
    constexpr int kWidth = kVectorWidth<T>, kBytes = kWidth * sizeof(T);
    Operands<T> p{op.x.data, op.out.data, {}, op.out.size(), op.formula};
    for (int d = 0; d < op.out.axes; ++d) p.axes.add(d, op.x, op.out);
    const bool in_vectors = is_in_words(op.x, kBytes) && is_in_words(op.out, kBytes);
    if (in_vectors) p.vectors /= kWidth, walk_in_vectors(p.axes, kWidth);
    const bool small = fits_small_index(p.vectors);
    const auto vector_kernel = small ? unary_kernel<kWidth, uint32_t, T> : unary_kernel<kWidth, int64_t, T>;
    const auto item_kernel = small ? unary_kernel<1, uint32_t, T> : unary_kernel<1, int64_t, T>;
    const dim3 grid(static_cast<unsigned>(blocks_for(p.vectors, kMapThreads * kMapVectors)));
    launch_kernel(stream, in_vectors ? vector_kernel : item_kernel, grid, dim3(kMapThreads), 0, stream.guard(), p);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Unary)
