#include "cuda/update.h"

#include "cuda/device/elementwise.cuh"
#include "cuda/device/guard.cuh"
#include "cuda/device/last_block.cuh"
#include "cuda/launch.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// Tensors are kernel arguments, which should stay below 4 KiB; a model with more tensors takes several launches.
constexpr int kMaxTensors = 21, kMaxGradients = 64;

// A table of tensors, or of gradients. The entry of a block is the last whose first block is not after it.
template <class E, int N>
struct Table {
    E entry[N];
    int count = 0;

    __device__ const E& of_block(int64_t block) const {
        int i = 0;
        while (i + 1 < count && entry[i + 1].first_block <= block) ++i;
        return entry[i];
    }
};

template <class T>
struct TensorEntry {
    ops::UpdateTensor<T> tensor;
    int64_t first_block;
    bool vectors;  // whether all its arrays are contiguous and whole vectors
};
template <class T>
using TensorTable = Table<TensorEntry<T>, kMaxTensors>;

template <class T>
struct GradientEntry {
    MatrixView<const T> grad;
    int64_t first_block;
    bool vectors;
};
template <class T>
using GradientTable = Table<GradientEntry<T>, kMaxGradients>;

// --------------------------------------------------------------------------------------- the norm of the gradients

constexpr int64_t kMaxNormBlocks = 1024;  // approximate maximum in a launch; a single block adds their sums

using NormMemory = GridSumMemory<kMapThreads>;

// Adds the squares of a thread's vectors in `rounds` stretches of a gradient.
template <int W, class T>
__device__ double sum_squares(const MatrixView<const T>& grad, int64_t block, int64_t rounds) {
    const int64_t vectors = grad.rows * grad.cols / W;
    double total = 0;
    for (int64_t r = 0; r < rounds; ++r) {
        Vector<T, W> items[kMapVectors] = {};
#pragma unroll
        for (int u = 0; u < kMapVectors; ++u) {
            const int64_t e = vector_of_thread(block * rounds + r, u);
            if (e < vectors) items[u] = load_items<W>(grad, e);
        }
#pragma unroll
        for (int u = 0; u < kMapVectors; ++u)
#pragma unroll
            for (int l = 0; l < W; ++l) {
                const double x = static_cast<double>(items[u][l]);
                total = std::fma(x, x, total);
            }
    }
    return total;
}

template <class T>
__global__ void __launch_bounds__(kMapThreads) norm_kernel(Guard guard, GradientTable<T> table, int64_t rounds,
                                                           double* squared_norm, double* partial, unsigned* ticket) {
    if (is_stopped(guard)) return;
    const GradientEntry<T>& g = table.of_block(blockIdx.x);
    const int64_t block = blockIdx.x - g.first_block;
    double total =
        g.vectors ? sum_squares<kVectorWidth<T>>(g.grad, block, rounds) : sum_squares<1>(g.grad, block, rounds);
    if (sum_over_grid<kMapThreads>(total, partial, ticket, shared_memory<NormMemory>()) && threadIdx.x == 0)
        *squared_norm = total;
}

int64_t stretches_of(int64_t items, int width) { return blocks_for(items / width, kMapThreads * kMapVectors); }

// Writes the squared norms of groups of gradients to the stream's workspace, and passes them to `source`.
template <class T>
void measure_gradients(const std::vector<ops::UpdateTensor<T>>& tensors, StepSource<T>& source, Stream& stream) {
    const auto stretches = [](const MatrixView<const T>& grad) {
        return stretches_of(grad.rows * grad.cols, is_vector_run(grad) ? kVectorWidth<T> : 1);
    };
    const int64_t groups = blocks_for(static_cast<int64_t>(tensors.size()), kMaxGradients);
    double* const sums =
        static_cast<double*>(stream.state.workspace((groups + kMaxNormBlocks + kMaxGradients) * sizeof(double)));
    for (int64_t k = 0; k < groups; ++k) {
        const auto begin = tensors.begin() + k * kMaxGradients;
        const auto end = k + 1 < groups ? begin + kMaxGradients : tensors.end();
        int64_t total = 0, blocks = 0;
        for (auto t = begin; t != end; ++t) total += stretches(t->grad);
        const int64_t rounds = blocks_for(total, kMaxNormBlocks);
        GradientTable<T> table;
        for (auto t = begin; t != end; ++t) {
            table.entry[table.count++] = {t->grad, blocks, is_vector_run(t->grad)};
            blocks += blocks_for(stretches(t->grad), rounds);
        }
        launch_kernel(stream, norm_kernel<T>, dim3(static_cast<unsigned>(blocks)), dim3(kMapThreads),
                      sizeof(NormMemory), stream.guard(), table, rounds, sums + k, sums + groups,
                      stream.state.tickets());
    }
    source.squared_norms = sums, source.groups = static_cast<int>(groups);
}

// --------------------------------------------------------------------------------------------------- the update

template <class T>
struct UpdateMemory {
    SharedArray<StepNumbers<T>, 1> numbers;
};

// Loads a thread's vectors of a tensor, then calls get_numbers(), and takes the step.
template <int W, class Rule, class T, class GetNumbers>
__device__ void update_tensor(const ops::UpdateTensor<T>& t, int64_t block, GetNumbers&& get_numbers) {
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
    const StepNumbers<T> numbers = get_numbers();
#pragma unroll
    for (int u = 0; u < kMapVectors; ++u) {
        const int64_t e = vector_of_thread(block, u);
        if (e >= vectors) return;
#pragma unroll
        for (int l = 0; l < W; ++l) update_item<Rule>(numbers, param[u][l], grad[u][l], state[0][u][l], state[1][u][l]);
        store_items<W>(t.param, e, param[u]);
#pragma unroll
        for (int s = 0; s < Rule::kStates; ++s) store_items<W>(t.state[s], e, state[s][u]);
    }
}

template <class T, class Rule>
__global__ void __launch_bounds__(kMapThreads) update_kernel(Guard guard, TensorTable<T> table, StepSource<T> source) {
    if (is_stopped(guard)) return;
    UpdateMemory<T>& memory = shared_memory<UpdateMemory<T>>();
    const TensorEntry<T>& t = table.of_block(blockIdx.x);
    const int64_t block = blockIdx.x - t.first_block;
    // Computed while the tensors' items are loaded.
    const auto get_numbers = [&]() -> StepNumbers<T> {
        make_numbers(source, memory.numbers);
        __syncthreads();  // the numbers are there
        const StepNumbers<T> numbers = memory.numbers[0];
        return numbers.on(t.tensor.penalised);
    };
    if (t.vectors)
        update_tensor<kVectorWidth<T>, Rule>(t.tensor, block, get_numbers);
    else
        update_tensor<1, Rule>(t.tensor, block, get_numbers);
}

template <class Rule, class T>
void update(const std::vector<ops::UpdateTensor<T>>& tensors, const StepSource<T>& source, Stream& stream) {
    for (size_t begin = 0; begin < tensors.size(); begin += kMaxTensors) {
        TensorTable<T> table;
        int64_t blocks = 0;
        for (size_t i = begin; i < tensors.size() && i < begin + kMaxTensors; ++i) {
            const ops::UpdateTensor<T>& t = tensors[i];
            bool vectors = is_vector_run(t.param) && is_vector_run(t.grad);
            for (int s = 0; s < Rule::kStates; ++s) vectors = vectors && is_vector_run(t.state[s]);
            table.entry[table.count++] = {t, blocks, vectors};
            blocks += stretches_of(t.param.rows * t.param.cols, vectors ? kVectorWidth<T> : 1);
        }
        static_assert(sizeof(Guard) + sizeof(TensorTable<T>) + sizeof(StepSource<T>) <= 4096);
        launch_kernel(stream, update_kernel<T, Rule>, dim3(static_cast<unsigned>(blocks)), dim3(kMapThreads),
                      sizeof(UpdateMemory<T>), stream.guard(), table, source);
    }
}

}  // namespace

template <class T>
void launch(const ops::Update<T>& op, Stream& stream) {
    StepSource<T> source = step_source(op);
    if (op.adjustments.clips()) measure_gradients(op.tensors, source, stream);
    with_update_rule(op.rule, [&](auto rule) { update<decltype(rule)>(op.tensors, source, stream); });
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Update)
