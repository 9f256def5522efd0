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
    const T* a;
    const T* b;
    T* out;
    CommonAxes<3> axes;  // of a, b and out, in vectors along the last one
    int64_t vectors;
    bool one_item;  // of b stands for all along the last axis
    BinaryFormula formula;
};

// W items at a time.
template <int W, class Index, class T>
__global__ void __launch_bounds__(kMapThreads) binary_kernel(Guard guard, Operands<T> p) {
    if (is_stopped(guard)) return;
    with_formula(p.formula, [&](auto formula) {
        using V = Vector<T, W>;
        V a[kMapVectors], b[kMapVectors], out[kMapVectors];
        T* to[kMapVectors];
#pragma unroll
        for (int u = 0; u < kMapVectors; ++u) {
            const int64_t e = vector_of_thread(blockIdx.x, u);
            if (e >= p.vectors) break;
            int64_t offset[3];
            offsets_of(p.axes, static_cast<Index>(e), offset);
            to[u] = p.out + offset[2];
            a[u] = *reinterpret_cast<const V*>(p.a + offset[0]);
            if (p.one_item)
                for (int l = 0; l < W; ++l) b[u][l] = p.b[offset[1]];
            else
                b[u] = *reinterpret_cast<const V*>(p.b + offset[1]);
            if constexpr (decltype(formula)::kReadsOut) out[u] = *reinterpret_cast<const V*>(to[u]);
        }
#pragma unroll
        for (int u = 0; u < kMapVectors; ++u) {
            if (vector_of_thread(blockIdx.x, u) >= p.vectors) return;
#pragma unroll
            for (int l = 0; l < W; ++l) {
                Lane<T> held(T(0));
                if constexpr (decltype(formula)::kReadsOut) held = Lane<T>(out[u][l]);
                out[u][l] = formula.value(Lane<T>(a[u][l]), Lane<T>(b[u][l]), held).value;
            }
            *reinterpret_cast<V*>(to[u]) = out[u];
        }
    });
}

}  // namespace

template <class T>
void launch(const ops::Binary<T>& op, Stream& stream) {
    constexpr int kWidth = kVectorWidth<T>, kBytes = kWidth * sizeof(T);
    const int last = op.out.axes - 1;
    Operands<T> p{op.a.data, op.b.data, op.out.data, {}, op.out.size(), op.b.stride[last] == 0, op.formula};
    for (int d = 0; d <= last; ++d) p.axes.add(d, op.a, op.b, op.out);
    const bool in_vectors =
        is_in_words(op.a, kBytes) && is_in_words(op.out, kBytes) && (p.one_item || is_in_words(op.b, kBytes));
    if (in_vectors) p.vectors /= kWidth, walk_in_vectors(p.axes, kWidth);
    const bool small = fits_small_index(p.vectors);
    const auto vector_kernel = small ? binary_kernel<kWidth, uint32_t, T> : binary_kernel<kWidth, int64_t, T>;
    const auto item_kernel = small ? binary_kernel<1, uint32_t, T> : binary_kernel<1, int64_t, T>;
    const dim3 grid(static_cast<unsigned>(blocks_for(p.vectors, kMapThreads * kMapVectors)));
    launch_kernel(stream, in_vectors ? vector_kernel : item_kernel, grid, dim3(kMapThreads), 0, stream.guard(), p);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Binary)
