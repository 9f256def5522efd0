#include "cuda/device/guard.cuh"
#include "cuda/device/lane.cuh"
#include "cuda/device/last_block.cuh"
#include "cuda/run.h"
#include "cuda/scan.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 256;
constexpr double kSmallScale = 1e-3;  // below this value, the scale is multiplied into the weights

struct CheckMemory {
    SharedArray<int64_t, kThreads / kWarp> row;
    SharedArray<int, 1> last;
};

__global__ void __launch_bounds__(kThreads)
    check_order_kernel(Guard guard, VectorView<const int64_t> order, int64_t rows, OperationNumber operation,
                       int64_t* found, unsigned* ticket) {
    if (is_stopped(guard)) return;  // only the last block reports, after all blocks have passed this line
    auto& memory = shared_memory<CheckMemory>();
    int64_t bad = order.size;
    for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < order.size && bad == order.size;
         i += int64_t{gridDim.x} * kThreads)
        if (static_cast<uint64_t>(order[i]) >= static_cast<uint64_t>(rows)) bad = i;
    bad = combine_block<kThreads>(bad, memory.row, Smaller());
    if (threadIdx.x == 0) found[blockIdx.x] = bad;
    if (!is_last_block(ticket, gridDim.x, memory.last) || threadIdx.x != 0) return;
    for (unsigned b = 0; b < gridDim.x; ++b) bad = Smaller()(bad, found[b]);
    if (bad < order.size) report_failure(guard, Failure{Failure::kIndex, operation, order[bad], bad, rows});
}

struct SgdMemory {
    SharedArray<double, kThreads / kWarp> partial;
    SharedArray<int, 1> last;
};

// A block processes all samples for one output. Its threads divide the columns: the state of a column is in memory, and
// only its thread uses it. The weights are `scale` times the stored items, so that the L2 penalty does not add the
// rounding error of 1 - rate l2 to every weight.
template <class T>
__global__ void __launch_bounds__(kThreads) linear_sgd_kernel(Guard guard, ops::LinearSgd<T> op, unsigned* ticket) {
    if (is_stopped(guard)) return;
    auto& memory = shared_memory<SgdMemory>();
    const StepRule rule{op.lr.get(), op.power, op.t0, op.l1, op.l2, op.passive_aggressive};
    const int64_t c = blockIdx.x, d = op.w.rows, k = op.w.cols, n = op.samples(), first = *op.step;
    const bool needs_square = rule.passive_aggressive != PassiveAggressive::kNot;
    double bias = op.b ? static_cast<double>(op.b[c]) : 0, objective = 0;
    double average_bias = op.average_b ? static_cast<double>(op.average_b[c]) : 0;
    double allowed = op.l1 > 0 ? op.l1_total[c] : 0, scale = 1;
    int64_t taken = 0;
    const auto sum_over_columns = [&](auto&& term) {
        double sum = 0;
        for (int64_t j = threadIdx.x; j < d; j += kThreads) sum += term(j);
        return combine_block<kThreads>(sum, memory.partial, Plus());
    };
    for (int64_t i = 0; i < n; ++i) {
        const int64_t r = op.order ? op.order[i] : i;
        const auto x = [&](int64_t j) { return static_cast<double>(op.x(r, j)); };
        const double square = needs_square ? sum_over_columns([&](int64_t j) { return x(j) * x(j); }) : 0;
        if (rule.skips(square)) continue;
        const double t = static_cast<double>(first + ++taken);
        const bool positive = !op.target && is_positive(op.labels[r], c, k);
        const double target = op.target ? static_cast<double>(op.target(r, c)) : target_of_class(op.loss, positive);
        const double product = sum_over_columns([&](int64_t j) { return x(j) * static_cast<double>(op.w(j, c)); });
        const double z = scale * product + bias;
        double loss = 0, slope = 0;
        with_loss(op.loss, op.parameter, [&](auto formula) {
            using V = Lane<double>;
            loss = op.loss_scale * formula.value(V(z), V(target)).value;
            slope = op.loss_scale * slope_of_step(formula, V(z), V(target)).value;
        });
        objective += loss;
        if (rule.l1 > 0 || rule.l2 > 0)
            objective += sum_over_columns([&](int64_t j) {
                const double w = scale * static_cast<double>(op.w(j, c));
                return 0.5 * rule.l2 * w * w + rule.l1 * std::fabs(w);
            });
        const double rate = rule.rate(t);
        scale *= rule.decay(rate);
        const double divisor = scale < kSmallScale ? 1 : scale;
        double weight = op.sample_weight ? static_cast<double>(op.sample_weight[r]) : 1;
        if (op.class_weight) weight *= static_cast<double>(op.class_weight(target > 0, c));
        const double step = rule.coefficient(loss, slope, rate, square, weight);
        allowed += rule.l1 * rate;
        if (op.b) bias += step;
        const double counted = static_cast<double>(first + taken - op.average_start + 1);
        const bool averages = op.average_w && counted > 0;
        for (int64_t j = threadIdx.x; j < d; j += kThreads) {
            double w = scale * static_cast<double>(op.w(j, c));
            if (step != 0) w += step * x(j);
            if (rule.l1 > 0) {
                const double taken_off = static_cast<double>(op.l1_applied(j, c));
                const double before = w;
                if (w > 0)
                    w = w > allowed + taken_off ? w - (allowed + taken_off) : 0;
                else if (w < 0)
                    w = w < taken_off - allowed ? w + (allowed - taken_off) : 0;
                op.l1_applied(j, c) = static_cast<T>(taken_off + (w - before));
            }
            op.w(j, c) = static_cast<T>(w / divisor);
            if (averages) {
                T& average = op.average_w(j, c);
                average = static_cast<T>(average + (w - average) / counted);
            }
        }
        if (averages) average_bias += (bias - average_bias) / counted;
        if (divisor == 1) scale = 1;
    }
    for (int64_t j = threadIdx.x; j < d; j += kThreads) op.w(j, c) = static_cast<T>(scale * op.w(j, c));
    if (threadIdx.x == 0) {
        if (op.b) op.b[c] = static_cast<T>(bias);
        if (op.average_b) op.average_b[c] = static_cast<T>(average_bias);
        if (op.l1 > 0) op.l1_total[c] = allowed;
        op.objective[c] = objective;
    }
    if (is_last_block(ticket, gridDim.x, memory.last) && threadIdx.x == 0) *op.step = first + taken;
}

}  // namespace

template <class T>
void launch(const ops::LinearSgd<T>& op, Stream& stream) {
    if (op.order) {
        auto* const found = static_cast<int64_t*>(stream.state.workspace(kMaxScanBlocks * sizeof(int64_t)));
        const dim3 grid = op.order.size > 0 ? scan_grid(op.order.size) : dim3(1);
        launch_kernel(stream, check_order_kernel, grid, dim3(kThreads), sizeof(CheckMemory), stream.guard(), op.order,
                      op.x.rows, number_of(op), found, stream.state.tickets());
    }
    launch_kernel(stream, linear_sgd_kernel<T>, dim3(static_cast<unsigned>(op.w.cols)), dim3(kThreads),
                  sizeof(SgdMemory), stream.guard(), op, stream.state.tickets());
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(LinearSgd)
