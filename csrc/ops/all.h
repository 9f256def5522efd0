// The list of operations. Kernel tables, captured graphs, bindings and operation numbers are generated from it.
#pragma once

#include "common/failure.h"
#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/avg_pool2d.h"
#include "ops/binary.h"
#include "ops/class_scatter.h"
#include "ops/conv2d.h"
#include "ops/copy.h"
#include "ops/counters.h"
#include "ops/cumsum.h"
#include "ops/dropout.h"
#include "ops/embedding_backward.h"
#include "ops/gaussian_loss.h"
#include "ops/gradient_gram.h"
#include "ops/gradient_norms.h"
#include "ops/linear.h"
#include "ops/linear_backward.h"
#include "ops/linear_bernoulli.h"
#include "ops/linear_loss.h"
#include "ops/linear_sgd.h"
#include "ops/linear_tangent.h"
#include "ops/matmul.h"
#include "ops/max_pool2d.h"
#include "ops/mix_rows.h"
#include "ops/normalize.h"
#include "ops/output_divergence.h"
#include "ops/output_fisher.h"
#include "ops/pointwise_loss.h"
#include "ops/pool_spans.h"
#include "ops/positions.h"
#include "ops/prelu.h"
#include "ops/random.h"
#include "ops/recurrence.h"
#include "ops/reduce.h"
#include "ops/rotary.h"
#include "ops/sampled_score.h"
#include "ops/second_moment.h"
#include "ops/softmax.h"
#include "ops/softmax_backward.h"
#include "ops/softmax_cross_entropy.h"
#include "ops/take_images.h"
#include "ops/take_rows.h"
#include "ops/take_sparse_rows.h"
#include "ops/unary.h"
#include "ops/update.h"
#include "ops/zero_one_loss.h"

// X(operation): operations that exist for float32 and for float64.
#define STEEPEST_FLOAT_OPERATIONS(X) \
    X(MatMul)                        \
    X(Linear)                        \
    X(LinearBernoulli)               \
    X(LinearBackward)                \
    X(LinearTangent)                 \
    X(LinearLoss)                    \
    X(LinearSgd)                     \
    X(Conv2d)                        \
    X(Conv2dTranspose)               \
    X(Conv2dWeightGradient)          \
    X(ActivationForward)             \
    X(ActivationBackward)            \
    X(Unary)                         \
    X(Binary)                        \
    X(Dropout)                       \
    X(MaxPool2d)                     \
    X(MaxPool2dBackward)             \
    X(MaxPool2dGather)               \
    X(AvgPool2d)                     \
    X(AvgPool2dBackward)             \
    X(Normalize)                     \
    X(NormalizeBackward)             \
    X(NormalizeTangent)              \
    X(Recurrence)                    \
    X(RecurrenceBackward)            \
    X(RecurrenceTangent)             \
    X(Prelu)                         \
    X(PreluBackward)                 \
    X(Softmax)                       \
    X(SoftmaxBackward)               \
    X(SoftmaxCrossEntropy)           \
    X(Attention)                     \
    X(AttentionBackward)             \
    X(AttentionTangent)              \
    X(PointwiseLoss)                 \
    X(GaussianLoss)                  \
    X(OutputFisher)                  \
    X(OutputDivergence)              \
    X(SampledScore)                  \
    X(ZeroOneLoss)                   \
    X(Update)                        \
    X(Reduce)                        \
    X(Argmax)                        \
    X(Cumsum)                        \
    X(ClassScatter)                  \
    X(GradientGram)                  \
    X(GradientNorms)                 \
    X(SecondMoment)                  \
    X(TakeSparseRows)                \
    X(TakeImages)                    \
    X(MixRows)                       \
    X(EmbeddingBackward)             \
    X(Rotary)                        \
    X(PoolSpans)                     \
    X(PoolSpansBackward)             \
    X(PoolSpansGather)               \
    X(RandomUniform)

// X(operation): operations that exist in one form.
#define STEEPEST_OTHER_OPERATIONS(X) \
    X(TakeRows)                      \
    X(PutRows)                       \
    X(Positions)                     \
    X(Copy)                          \
    X(Increment)                     \
    X(Accumulate)                    \
    X(LookUp)                        \
    X(RequireFinite)                 \
    X(RandomBits)

namespace steepest {

// The number of an operation: its position in the lists above.
enum class OperationNumber : int16_t {
#define STEEPEST_ENUMERATOR(Name) k##Name,
    STEEPEST_FLOAT_OPERATIONS(STEEPEST_ENUMERATOR) STEEPEST_OTHER_OPERATIONS(STEEPEST_ENUMERATOR)
#undef STEEPEST_ENUMERATOR
};

namespace ops {

#define STEEPEST_NUMBER(Name)                                         \
    template <class T>                                                \
    STEEPEST_HD constexpr OperationNumber number_of(const Name<T>&) { \
        return OperationNumber::k##Name;                              \
    }
STEEPEST_FLOAT_OPERATIONS(STEEPEST_NUMBER)
#undef STEEPEST_NUMBER

#define STEEPEST_NUMBER(Name) \
    STEEPEST_HD constexpr OperationNumber number_of(const Name&) { return OperationNumber::k##Name; }
STEEPEST_OTHER_OPERATIONS(STEEPEST_NUMBER)
#undef STEEPEST_NUMBER

}  // namespace ops
}  // namespace steepest
