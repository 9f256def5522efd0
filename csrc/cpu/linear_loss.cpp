#include "cpu/flush_subnormals.h"
#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/simd/math.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

using Chunks = ops::LinearLossChunks;
constexpr int64_t kRows = Chunks::kRows;
constexpr int64_t kBlockBytes = 32 << 10;  // block of x that stays in the L1 cache between its two uses
constexpr int kRowsTogether = 4;           // rows whose products with a row of weights are computed together
constexpr int kMostVectors = 8;            // vectors of a row of the gradient that stay in registers

// Rows of x at a constant distance from one another.
template <class T>
struct RowBlock {
    const T* data;
    int64_t stride, rows, cols;
    const T* row(int64_t i) const { return data + i * stride; }
};

// z[i] = w . x_i + bias for Rows rows. `w` ends with zeros up to a whole vector.
template <int Rows, class T>
STEEPEST_HD void multiply_rows(const T* x, int64_t stride, const T* w, int64_t d, T bias, T* z) {
    using V = Vec<T>;
    V sum[Rows][2];
    for (int r = 0; r < Rows; ++r) sum[r][0] = sum[r][1] = V(0);
    int64_t j = 0;
    for (; j + 2 * V::kSize <= d; j += 2 * V::kSize) {
        const V w0 = V::load(w + j), w1 = V::load(w + j + V::kSize);
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) {
            sum[r][0] = fma(V::load(x + r * stride + j), w0, sum[r][0]);
            sum[r][1] = fma(V::load(x + r * stride + j + V::kSize), w1, sum[r][1]);
        }
    }
    for (; j < d; j += V::kSize) {
        const int lanes = static_cast<int>(d - j < V::kSize ? d - j : V::kSize);
        const V w0 = V::load(w + j);
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) sum[r][0] = fma(V::load(x + r * stride + j, lanes), w0, sum[r][0]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) z[r] = reduce_add(sum[r][0] + sum[r][1]) + bias;
}

// sums += sum_i slope[i] x_i over Vectors vectors of the rows, the last of which has only `last` items.
template <int Vectors, class T>
STEEPEST_HD void add_rows(const RowBlock<T>& x, int64_t j, int last, const T* slope, double* sums) {
    using V = Vec<T>;
    V sum[Vectors];
    for (int v = 0; v < Vectors; ++v) sum[v] = V(0);
    const T* row = x.data + j;
    for (int64_t i = 0; i < x.rows; ++i, row += x.stride) {
        const V factor(slope[i]);
#pragma GCC unroll 8
        for (int v = 0; v < Vectors - 1; ++v) sum[v] = fma(factor, V::load(row + v * V::kSize), sum[v]);
        const T* const end = row + (Vectors - 1) * V::kSize;
        const V items = last == V::kSize ? V::load(end) : V::load(end, last);
        sum[Vectors - 1] = fma(factor, items, sum[Vectors - 1]);
    }
    for (int v = 0; v < Vectors; ++v) add_wide(sum[v], sums + j + v * V::kSize);
}

template <class T>
void add_rows(const RowBlock<T>& x, const T* slope, double* sums) {
    constexpr int64_t kSize = Vec<T>::kSize;
    for (int64_t j = 0; j < x.cols;) {
        const int64_t left = x.cols - j, vectors = (left + kSize - 1) / kSize;
        const int64_t taken = vectors < kMostVectors ? vectors : kMostVectors;
        const int last = static_cast<int>(left < taken * kSize ? left - (taken - 1) * kSize : kSize);
        switch (taken) {
            case 1: add_rows<1>(x, j, last, slope, sums); break;
            case 2: add_rows<2>(x, j, last, slope, sums); break;
            case 3: add_rows<3>(x, j, last, slope, sums); break;
            case 4: add_rows<4>(x, j, last, slope, sums); break;
            case 5: add_rows<5>(x, j, last, slope, sums); break;
            case 6: add_rows<6>(x, j, last, slope, sums); break;
            case 7: add_rows<7>(x, j, last, slope, sums); break;
            default: add_rows<8>(x, j, last, slope, sums);
        }
        j += taken * kSize;
    }
}

// The work of one thread: blocks of rows. Scores and slopes are stored output by output, kRows apart.
template <class T>
class LossOfRows {
    using V = Vec<T>;

  public:
    LossOfRows(const ops::LinearLoss<T>& op, Team& team)
        : op_(op), k_(op.w.cols), width_(Chunks(op.x.rows, op.w.rows, k_).width) {
        const int64_t fitting = kBlockBytes / (op.w.rows * static_cast<int64_t>(sizeof(T)) + 1);
        block_rows_ = fitting >= kRows ? kRows : fitting <= kRowsTogether ? kRowsTogether : fitting / 4 * 4;
        const int64_t copied = op.x.col_stride == 1 ? 0 : block_rows_ * width_;
        weights_ =
            static_cast<T*>(team.scratch(static_cast<size_t>(k_ * (width_ + kRows) + 2 * kRows + copied) * sizeof(T)));
        score_ = weights_ + k_ * width_;
        row_weight_ = score_ + k_ * kRows;
        label_ = row_weight_ + kRows;
        copy_ = label_ + kRows;
        for (int64_t c = 0; c < k_; ++c)
            for (int64_t j = 0; j < width_; ++j) weights_[c * width_ + j] = j < op.w.rows ? op.w(j, c) : T(0);
    }

    // Computes the sums of rows [begin, end), without the factor that all items have.
    void add(int64_t begin, int64_t end, double* sums) const {
        for (int64_t p = 0; p < Chunks(op_.x.rows, op_.w.rows, k_).items(); ++p) sums[p] = 0;
        double* const bias_sums = sums + k_ * width_;
        for (int64_t i0 = begin; i0 < end; i0 += block_rows_) {
            const RowBlock<T> x = block(i0, end - i0 < block_rows_ ? end - i0 : block_rows_);
            for (int64_t c = 0; c < k_; ++c) multiply(x, c);
            bias_sums[k_] += slopes(i0, x.rows);
            for (int64_t i = 0; i < x.rows; ++i) bias_sums[k_ + 1] += row_weight_[i];
            if (!op_.d_w) continue;
            for (int64_t c = 0; c < k_; ++c) {
                const T* const slope = score_ + c * kRows;
                add_rows(x, slope, sums + c * width_);
                for (int64_t i = 0; i < x.rows; ++i) bias_sums[c] += slope[i];
            }
        }
    }

  private:
    RowBlock<T> block(int64_t i0, int64_t rows) const {
        if (op_.x.col_stride == 1) return {op_.x.row(i0), op_.x.row_stride, rows, op_.x.cols};
        for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < op_.x.cols; ++j) copy_[i * width_ + j] = op_.x(i0 + i, j);
        return {copy_, width_, rows, op_.x.cols};
    }

    void multiply(const RowBlock<T>& x, int64_t c) const {
        const T* const w = weights_ + c * width_;
        T* const z = score_ + c * kRows;
        const T bias = op_.b ? op_.b[c] : T(0);
        int64_t i = 0;
        for (; i + kRowsTogether <= x.rows; i += kRowsTogether)
            multiply_rows<kRowsTogether>(x.row(i), x.stride, w, x.cols, bias, z + i);
        for (; i < x.rows; ++i) multiply_rows<1>(x.row(i), x.stride, w, x.cols, bias, z + i);
        for (; i % V::kSize != 0; ++i) z[i] = T(0);
    }

    // Replaces scores by slopes, and returns the weighted sum of the losses.
    double slopes(int64_t i0, int64_t rows) const {
        for (int64_t i = 0; i < kRows; ++i)
            row_weight_[i] = i >= rows ? T(0) : op_.sample_weight ? op_.sample_weight[i0 + i] : T(1);
        double loss = 0;
        if (op_.target)
            with_loss(op_.kind, op_.parameter, [&](auto formula) { loss = pointwise(formula, i0, rows); });
        else
            loss = softmax(i0, rows);
        return loss;
    }

    template <class Formula>
    double pointwise(const Formula& formula, int64_t i0, int64_t rows) const {
        double loss = 0;
        for (int64_t c = 0; c < k_; ++c) {
            for_each_vector<T>(0, rows, [&](int64_t i, int lanes) {
                T* const at = score_ + c * kRows + i;
                const V z = V::load(at), weight = V::load(row_weight_ + i);
                const V t = load_items(&op_.target(i0 + i, c), op_.target.row_stride, lanes);
                const auto counts_not = weight == V(0);
                loss += reduce_add_wide(select(counts_not, V(0), weight * formula.value(z, t)));
                select(counts_not, V(0), weight * formula.derivative(z, t)).store(at);
            });
        }
        return loss;
    }

    // Softmax of several rows at once, one in each lane: scores are shifted by their maximum, exponentiated, and
    // divided by their sum.
    double softmax(int64_t i0, int64_t rows) const {
        double loss = 0;
        for (int64_t i = 0; i < rows; ++i) label_[i] = static_cast<T>(op_.labels[i0 + i]);
        for (int64_t i = rows; i % V::kSize != 0; ++i) label_[i] = T(0);
        for (int64_t i = 0; i < rows; i += V::kSize) {
            const V weight = V::load(row_weight_ + i), label = V::load(label_ + i);
            const auto counts_not = weight == V(0);
            V largest = V::load(score_ + i), of_label(0), sum(0);
            for (int64_t c = 1; c < k_; ++c) largest = max(V::load(score_ + c * kRows + i), largest);
            for (int64_t c = 0; c < k_; ++c) {
                T* const at = score_ + c * kRows + i;
                const V shifted = V::load(at) - largest;
                of_label = select(label == V(static_cast<double>(c)), shifted, of_label);
                const V e = exp_nonpositive(shifted);
                sum = sum + e;
                e.store(at);
            }
            const V logarithm = select(sum == sum, log_positive(sum), sum);
            loss += reduce_add_wide(select(counts_not, V(0), weight * (logarithm - of_label)));
            const V factor = V(1) / sum;
            for (int64_t c = 0; c < k_; ++c) {
                T* const at = score_ + c * kRows + i;
                const V one_hot = select(label == V(static_cast<double>(c)), V(1), V(0));
                select(counts_not, V(0), weight * (V::load(at) * factor - one_hot)).store(at);
            }
        }
        return loss;
    }

    const ops::LinearLoss<T>& op_;
    int64_t k_, width_, block_rows_;
    T *weights_, *score_, *row_weight_, *label_, *copy_;
};

}  // namespace

template <class T>
void run(const ops::LinearLoss<T>& op, Team& team) {
    const int64_t n = op.x.rows, d = op.w.rows, k = op.w.cols;
    const RowWeights<T> weights{op.sample_weight, op.labels, false, 0};
    if (op.labels && !check_labels(weights, k, number_of(op), team)) return;
    const FlushSubnormals flush;
    const Chunks chunks(n, d, k);
    const int64_t items = chunks.items();
    const auto sums_of = [&](int64_t chunk) { return op.workspace.data + chunk * items; };
    const Range mine = team.split(chunks.count, 1);
    if (!mine.empty()) {
        const LossOfRows<T> rows(op, team);
        for (int64_t c = mine.begin; c < mine.end; ++c) rows.add(chunks.begin(c), chunks.begin(c + 1), sums_of(c));
    }
    team.barrier();  // the sums of all chunks are written
    const auto sum_of_all = [&](int64_t p) {
        double sum = 0;
        for (int64_t chunk = 0; chunk < chunks.count; ++chunk) sum += sums_of(chunk)[p];
        return sum;
    };
    const double weight = sum_of_all(k * (chunks.width + 1) + 1);
    const double scale = weight != 0 ? op.item_factor() / weight : 0;
    const auto total_of = [&](int64_t p) { return scale * sum_of_all(p); };
    if (op.d_w) {
        const Range columns = team.split(d, 64);
        for (int64_t c = 0; c < k; ++c)
            for (int64_t j = columns.begin; j < columns.end; ++j)
                op.d_w(j, c) = static_cast<T>(total_of(c * chunks.width + j) + op.l2 * op.w(j, c));
    }
    if (team.rank() != 0) return;
    if (op.d_w)
        for (int64_t c = 0; c < k; ++c) op.d_b[c] = static_cast<T>(total_of(k * chunks.width + c));
    double square = 0;
    if (op.l2 != 0)
        for (int64_t j = 0; j < d; ++j)
            for (int64_t c = 0; c < k; ++c) square += static_cast<double>(op.w(j, c)) * static_cast<double>(op.w(j, c));
    *op.loss = total_of(k * (chunks.width + 1)) + 0.5 * op.l2 * square;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(LinearLoss)
