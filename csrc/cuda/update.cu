#include "cuda/update.h"

#include "cuda/device/elementwise.cuh"
#include "cuda/device/guard.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// The tensors of one launch, as kernel arguments, which are at most 4 KiB; a model with more takes several.
constexpr int kMaxTensors = 22;

template <class T>
struct TensorTable {
    struct Entry {
        MatrixView<T> param;
        MatrixView<const T> grad;
        MatrixView<T> state[2];
        int64_t first_block;
        bool vectors;  // whether all are runs of vectors
    };
    Entry entry[kMaxTensors];
    int count = 0;
};

template <class Rule>
struct UpdateMemory {
    SharedArray<Rule, 1> rule;
};

// Loads a thread's vectors of a tensor, then calls rule() for the rule, and applies it.
template <int W, class Rule, class T, class GetRule>
__device__ void update_tensor(const typename TensorTable<T>::Entry& t, int64_t block, GetRule&& get_rule) {
    const int64_t vectors = t.param.rows * t.param.cols / W;
    Vector<T, W> param[kMapVectors], grad[kMapVectors], state[2][kMapVectors] = {};
#pragma unroll
    for (int u = 0; u < kMapVectors; ++u) {
        const int64_t e = vector_of_thread(block, u);
        if (e >= vectors) continue;
        param[u] = load_items<W>(t.param, e), grad[u] = load_items<W>(t.grad, e);
#pragma unroll
        for (int s = 0; s < Rule::kStates; ++s) state[s][u] = load_items<W>(t.state[s], e);
    }
    const Rule rule = get_rule();
#pragma unroll
    for (int u = 0; u < kMapVectors; ++u) {
        const int64_t e = vector_of_thread(block, u);
        if (e >= vectors) return;
#pragma unroll
        for (int l = 0; l < W; ++l) apply_rule(rule, param[u][l], grad[u][l], state[0][u][l], state[1][u][l]);
        store_items<W>(t.param, e, param[u]);
#pragma unroll
        for (int s = 0; s < Rule::kStates; ++s) store_items<W>(t.state[s], e, state[s][u]);
    }
}

template <class T, class Maker>
__global__ void __launch_bounds__(kMapThreads) update_kernel(Guard guard, TensorTable<T> table, Maker maker) {
    if (is_stopped(guard)) return;
    using Rule = typename Maker::template Rule<T>;
    UpdateMemory<Rule>& memory = shared_memory<UpdateMemory<Rule>>();
    int i = 0;
    while (i + 1 < table.count && table.entry[i + 1].first_block <= blockIdx.x) ++i;
    const auto& t = table.entry[i];
    const int64_t block = blockIdx.x - t.first_block;
    // While the tensors' items are on their way.
    const auto get_rule = [&]() -> Rule {
        make_rule<T>(maker, memory.rule);
        __syncthreads();  // the rule is there
        return memory.rule[0];
    };
    if (t.vectors)
        update_tensor<kVectorWidth<T>, Rule, T>(t, block, get_rule);
    else
        update_tensor<1, Rule, T>(t, block, get_rule);
}

template <class T, class Maker>
void update(const ops::TensorList<T>& list, const Maker& maker, Stream& stream) {
    using Rule = typename Maker::template Rule<T>;
    for (size_t begin = 0; begin < list.tensors.size(); begin += kMaxTensors) {
        TensorTable<T> table;
        int64_t blocks = 0;
        for (size_t i = begin; i < list.tensors.size() && i < begin + kMaxTensors; ++i) {
            const ops::UpdateTensor<T>& t = list.tensors[i];
            bool vectors = is_vector_run(t.param) && is_vector_run(t.grad);
            for (int s = 0; s < Rule::kStates; ++s) vectors = vectors && is_vector_run(t.state[s]);
            table.entry[table.count++] = {t.param, t.grad, {t.state[0], t.state[1]}, blocks, vectors};
            const int64_t count = t.param.rows * t.param.cols / (vectors ? kVectorWidth<T> : 1);
            blocks += blocks_for(count, kMapThreads * kMapVectors);
        }
        launch_kernel(stream, update_kernel<T, Maker>, dim3(static_cast<unsigned>(blocks)), dim3(kMapThreads),
                      sizeof(UpdateMemory<Rule>), stream.guard(), table, maker);
    }
}

}  // namespace

template <class T>
void launch(const ops::SgdUpdate<T>& op, Stream& stream) {
    with_maker(op, [&](const auto& maker) { update(op.list, maker, stream); });
}

template <class T>
void launch(const ops::AdamUpdate<T>& op, Stream& stream) {
    with_maker(op, [&](const auto& maker) { update(op.list, maker, stream); });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SgdUpdate)
STEEPEST_INSTANTIATE(AdamUpdate)
