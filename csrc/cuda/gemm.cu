#include "cuda/gemm.h"

#include "cuda/gemm_launch.cuh"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class Tile>
void launch_one(const GemmCall<typename Tile::T>& call, const GemmPlan& plan, Stream& stream) {
    GroupBuilder<Tile, 1> builder;
    builder.add(call, plan);
    builder.launch(NoUpdate(), stream);
}

template <class Kinds, class T>
void launch_planned(const GemmCall<T>& call, Stream& stream) {
    const GemmPlan plan = plan_for<Kinds>(call, stream.device);
    switch (plan.kind) {
        case 0: return launch_one<typename Kinds::Large>(call, plan, stream);
        case 1: return launch_one<typename Kinds::Medium>(call, plan, stream);
        default: return launch_one<typename Kinds::Small>(call, plan, stream);
    }
}

}  // namespace

template <>
void gemm(const GemmCall<float>& call, Stream& stream) {
    switch (call.precision) {
#define STEEPEST_CASE(Name, text) \
    case Precision::k##Name: return launch_planned<Tiles<float, Precision::k##Name>>(call, stream);
        STEEPEST_PRECISIONS(STEEPEST_CASE)
#undef STEEPEST_CASE
    }
}

template <>
void gemm(const GemmCall<double>& call, Stream& stream) {
    launch_planned<Tiles<double, Precision::kFloat32>>(call, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
