#include "cuda/device/labels.cuh"
#include "cuda/device/softmax_row.cuh"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// The targets t_j of a row: 1 at its label and 0 elsewhere, or probabilities. A target offers
//     begin(op, i, label)   selects row i
//     sum(memory)           sum_j t_j, for all threads of the row
//     select(z, start)      selects the items of chunk z, which begins at item `start` of the row
//     [q]                   t_j for item q of this thread
//     add(q, d)             adds t_j d to `shifted`
template <class T, class Shape>
struct ClassTarget {
    using Chunk = RowChunk<T, Shape::kLanes, Shape::kVectors>;

    int64_t label = 0;
    int at = -1;  // index of this thread's item at the label, or -1
    T shifted = 0;

    explicit __device__ ClassTarget(bool) {}
    __device__ void begin(const ops::SoftmaxCrossEntropy<T>&, int64_t, int64_t row_label) {
        label = row_label, shifted = 0;
    }
    __device__ T sum(GroupArray<T, Shape::kLanes>&) { return 1; }
    __device__ void select(const Chunk& z, int64_t start) {
        const int64_t position = label - start;
        at = position >= 0 && position < Chunk::kSpan ? z.index_of(static_cast<int>(position)) : -1;
    }
    __device__ T operator[](int q) const { return q == at ? T(1) : T(0); }
    __device__ void add(int q, T d) { shifted = q == at ? d : shifted; }
};

template <class T, class Shape>
struct ProbabilityTarget {
    using Chunk = RowChunk<T, Shape::kLanes, Shape::kVectors>;

    VectorView<const T> row;
    Chunk t;
    double shifted = 0;

    explicit __device__ ProbabilityTarget(bool in_vectors) : t(in_vectors) {}
    __device__ void begin(const ops::SoftmaxCrossEntropy<T>& op, int64_t i, int64_t) {
        row = row_of(op.targets, i), shifted = 0;
        t.load(row, 0, T(0));
    }
    __device__ T sum(GroupArray<T, Shape::kLanes>& memory) {
        T total = 0;
        t.for_each([&](int q) { total += t.item[q]; });
        if constexpr (Shape::kLong) {
            for (int64_t start = Chunk::kSpan; start < row.size; start += Chunk::kSpan) {
                t.load(row, start, T(0));
                t.for_each([&](int q) { total += t.item[q]; });
            }
        }
        return combine_group<Shape::kLanes>(total, memory, Plus());
    }
    __device__ void select(const Chunk&, int64_t start) {
        if constexpr (Shape::kLong) t.load(row, start, T(0));
    }
    __device__ T operator[](int q) const { return t.item[q]; }
    // 0 times an infinite logit is 0: the limit of t log(t).
    __device__ void add(int q, T d) { shifted += static_cast<double>(t.item[q] == 0 ? T(0) : t.item[q] * d); }
};

template <class T, class Shape>
struct CrossEntropyMemory {
    GroupArray<T, Shape::kLanes> group;
    BatchMemory<Shape::kThreads> batch;
    GridSumMemory<Shape::kThreads> loss;
};

template <class T, class Shape, template <class, class> class Target>
__global__ void __launch_bounds__(Shape::kThreads, kBlocksAtOnce<T, Shape, 1280>)
    softmax_cross_entropy_kernel(Guard guard, ops::SoftmaxCrossEntropy<T> op, BatchRows<T> rows, bool in_vectors,
                                 double* partial, unsigned* ticket) {
    const bool stopped = is_stopped(guard);
    auto& memory = shared_memory<CrossEntropyMemory<T, Shape>>();
    RowChunk<T, Shape::kLanes, Shape::kVectors> z(in_vectors);
    Target<T, Shape> target(in_vectors);
    double inverse_total = 0, loss = 0;
    const auto begin = [&] {
        double total;
        if (!begin_rows<Shape::kThreads>(guard, stopped, rows, total, memory.batch)) return false;
        inverse_total = total != 0 ? 1 / total : 0;
        return true;
    };
    // A short row is loaded while the labels are checked.
    constexpr bool kLoadsFirst = Shape::kVectors <= 2 && !Shape::kLong;
    if constexpr (!kLoadsFirst) {
        if (!begin()) return;
    }
    const int64_t first = int64_t{blockIdx.x} * Shape::kRows;
    // A group past the last row still runs the loop: its lanes share a warp with other groups.
    for (int64_t i0 = first; i0 < op.logits.rows; i0 += int64_t{gridDim.x} * Shape::kRows) {
        const int64_t i = i0 + threadIdx.x / Shape::kLanes;
        const VectorView<const T> row = row_of(op.logits, i);
        if constexpr (!Shape::kLong) z.load(row, 0, kLowest<T>);
        if constexpr (kLoadsFirst) {
            if (i0 == first && !begin()) return;
        }
        const int64_t label = i < op.logits.rows ? rows.label_of(op.first + i) : 0;
        const double weight = i < op.logits.rows ? rows.weight_of(op.first + i, label) : 0;
        const T scale = static_cast<T>(weight * inverse_total);
        target.begin(op, i, label);
        const T target_sum = target.sum(memory.group);
        T maximum, sum = 0;
        const auto exponentiate = [&] {
            z.for_each([&](int q) {
                target.add(q, maximum - z.item[q]);
                z.item[q] = exp(z.item[q] - maximum);
                if constexpr (!Shape::kLong) sum += z.item[q];
            });
        };
        const auto add_loss = [&] {
            if (scale == 0) return;  // a row of weight 0 may hold NaN
            loss += weight * static_cast<double>(target.shifted);
            if (z.lane == 0) loss += weight * (static_cast<double>(target_sum) * static_cast<double>(std::log(sum)));
        };
        const VectorView<T> gradient = row_of(op.d_logits, i);
        const auto store_gradient = [&](T factor, int64_t start) {
            z.for_each([&](int q) {
                const T d = fma(z.item[q], factor, -scale * target[q]);
                z.item[q] = scale != 0 ? d : T(0);
            });
            z.store(gradient, start);
        };
        if constexpr (Shape::kLong) {
            long_row_statistics<Shape::kLanes>(row, in_vectors, memory.group, maximum, sum);
            for (int64_t start = 0; start < row.size; start += z.kSpan) {
                z.load(row, start, kLowest<T>);
                target.select(z, start);
                exponentiate();
                store_gradient(scale * target_sum / sum, start);
            }
            add_loss();
        } else {
            target.select(z, 0);
            maximum = maximum_of_row(z, memory.group);
            exponentiate();
            sum = combine_group<Shape::kLanes>(sum, memory.group, Plus());
            add_loss();
            store_gradient(scale * target_sum / sum, 0);
        }
    }
    if (sum_over_grid<Shape::kThreads>(loss, partial, ticket, memory.loss) && threadIdx.x == 0)
        *op.loss = (op.first > 0 ? *op.loss : 0) + loss * inverse_total;
}

template <class T, int Most, template <class, class> class Target>
void launch_with(const ops::SoftmaxCrossEntropy<T>& op, Stream& stream) {
    BatchRows<T> rows{{op.sample_weight, op.labels, op.has_ignore_label, op.ignore_label},
                      op.batch_rows(),
                      op.logits.cols,
                      number_of(op)};
    const bool in_vectors = has_vector_rows(op.logits) && has_vector_rows(op.targets) && has_vector_rows(op.d_logits);
    with_row_shape<T, Most>(op.logits.cols, [&](auto shape) {
        using Shape = decltype(shape);
        const unsigned blocks = row_blocks(op.logits.rows, Shape::kRows);
        const LossWorkspace workspace(rows, blocks, stream);
        launch_kernel(stream, softmax_cross_entropy_kernel<T, Shape, Target>, dim3(blocks), dim3(Shape::kThreads),
                      sizeof(CrossEntropyMemory<T, Shape>), stream.guard(), op, rows, in_vectors, workspace.partial,
                      stream.state.tickets());
    });
}

}  // namespace

template <class T>
void launch(const ops::SoftmaxCrossEntropy<T>& op, Stream& stream) {
    constexpr int kMost = 32 / sizeof(T);  // maximum number of vectors of the row in the registers of a thread
    if (op.labels)
        launch_with<T, kMost, ClassTarget>(op, stream);
    else
        launch_with<T, kMost / 2, ProbabilityTarget>(op, stream);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(SoftmaxCrossEntropy)
