#include "cuda/gemm_update.h"

#include "cuda/gemm_launch.cuh"
#include "cuda/update.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr size_t kMaxLayers = 6;  // layers in one launch: with more, the arguments would exceed 4 KiB

template <class T>
using PreciseTiles = Tiles<T, Precision::kFloat32>;

template <class Tile, class T>
void launch_group(const GradientUpdate<T>* layers, const GemmPlan* plans, size_t count, const StepSource<T>& source,
                  Stream& stream) {
    GroupBuilder<Tile, kMaxLayers> builder;
    GroupUpdate<T, kMaxLayers> update{source, {}};
    for (size_t i = 0; i < count; ++i) {
        builder.add(layers[i].gradient, plans[i]);
        UpdateTarget<T>& target = update.target[i] = layers[i].target;
        target.vectors =
            has_vector_rows(target.param) && has_vector_rows(target.state[0]) && has_vector_rows(target.state[1]);
    }
    builder.launch(update, stream);
}

}  // namespace

template <class T>
bool takes_update(const GemmCall<T>& gradient, const Device& device) {
    constexpr int64_t kShare = kTickets / static_cast<int64_t>(kMaxLayers);
    if (sizeof(T) == sizeof(float) && gradient.precision != Precision::kFloat32) return false;
    const GemmPlan plan = plan_for<PreciseTiles<T>>(gradient, device);
    using Small = typename PreciseTiles<T>::Small;
    const int64_t small_tiles = blocks_for(gradient.c.rows, Small::kRows) * blocks_for(gradient.c.cols, Small::kCols);
    return plan.kind != 0 && (plan.parts == 1 || small_tiles <= kShare);
}

template <class T>
void launch_with_update(const std::vector<GradientUpdate<T>>& layers, const ops::Update<T>& update, Stream& stream) {
    const StepSource<T> source = step_source(update);
    for (size_t begin = 0; begin < layers.size(); begin += kMaxLayers) {
        const size_t count = layers.size() - begin < kMaxLayers ? layers.size() - begin : kMaxLayers;
        // The parts of each product are the same as in gemm(), so that the sums are bit-identical.
        GemmPlan plans[kMaxLayers];
        bool medium = true;
        for (size_t i = 0; i < count; ++i) {
            plans[i] = plan_for<PreciseTiles<T>>(layers[begin + i].gradient, stream.device);
            medium = medium && plans[i].kind == 1;
        }
        if (medium)
            launch_group<typename PreciseTiles<T>::Medium>(&layers[begin], plans, count, source, stream);
        else
            launch_group<typename PreciseTiles<T>::Small>(&layers[begin], plans, count, source, stream);
    }
}

#define STEEPEST_INSTANTIATE_UPDATES(T)                            \
    template bool takes_update(const GemmCall<T>&, const Device&); \
    template void launch_with_update(const std::vector<GradientUpdate<T>>&, const ops::Update<T>&, Stream&);
STEEPEST_INSTANTIATE_UPDATES(float)
STEEPEST_INSTANTIATE_UPDATES(double)

}  // namespace STEEPEST_TARGET
}  // namespace steepest
