#include "common/activations.h"

#include "cuda/device/elementwise.cuh"
#include "cuda/device/guard.cuh"
#include "cuda/device/lane.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <int W, class T>
__global__ void __launch_bounds__(kMapThreads) activation_kernel(Guard guard, Map<T, 1> map, Activation activation) {
    if (is_stopped(guard)) return;
    with_activation(activation, [&](auto formula) {
        map_items<W>(map, [&](const T(&x)[1]) { return formula.value(Lane<T>(x[0])).value; });
    });
}

template <int W, class T>
__global__ void __launch_bounds__(kMapThreads)
    activation_backward_kernel(Guard guard, Map<T, 2> map, Activation activation) {
    if (is_stopped(guard)) return;
    with_activation(activation, [&](auto formula) {
        map_items<W>(map, [&](const T(&d)[2]) { return d[0] * formula.derivative(Lane<T>(d[1])).value; });
    });
}

// Launches the vector form of a kernel if all matrices are contiguous and a whole number of vectors.
template <class T, int N>
void launch_map(Stream& stream, void (*vectors)(Guard, Map<T, N>, Activation),
                void (*items)(Guard, Map<T, N>, Activation), Map<T, N> map, Activation activation) {
    bool runs = is_vector_run(map.out);
    for (const auto& in : map.in) runs = runs && is_vector_run(in);
    if (!runs) walk_along_memory(map);
    const int64_t count = map.out.rows * map.out.cols / (runs ? kVectorWidth<T> : 1);
    const dim3 grid(static_cast<unsigned>(blocks_for(count, kMapThreads * kMapVectors)));
    launch_kernel(stream, runs ? vectors : items, grid, dim3(kMapThreads), 0, stream.guard(), map, activation);
}

}  // namespace

template <class T>
void launch(const ops::ActivationForward<T>& op, Stream& stream) {
    launch_map(stream, activation_kernel<kVectorWidth<T>, T>, activation_kernel<1, T>, Map<T, 1>{{op.x}, op.out},
               op.activation);
}

template <class T>
void launch(const ops::ActivationBackward<T>& op, Stream& stream) {
    launch_map(stream, activation_backward_kernel<kVectorWidth<T>, T>, activation_backward_kernel<1, T>,
               Map<T, 2>{{op.d_y, op.y}, op.out}, op.activation);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(ActivationForward)
STEEPEST_INSTANTIATE(ActivationBackward)
