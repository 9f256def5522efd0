#include "cpu/bias_activation.h"
#include "cpu/gemm.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T>
struct PlusScaled {
    MatrixView<const T> w;
    T scale;
    STEEPEST_HD void operator()(const Tile<T>& tile) const {
        combine_tile(tile, w, [this](Vec<T> c, Vec<T> p) { return fma(Vec<T>(scale), p, c); });
    }
};

// Sums columns over blocks of kBlockK rows, like the matrix product, so that the error of a large batch stays small.
template <class T>
void sum_columns(const MatrixView<const T>& x, const VectorView<T>& out, bool accumulate, Team& team) {
    using V = Vec<T>;
    const Range mine = team.split(x.cols, TileShape<T>::kCols);
    for (int64_t j = mine.begin; j < mine.end; j += V::kSize) {
        const int lanes = static_cast<int>(mine.end - j < V::kSize ? mine.end - j : V::kSize);
        V total(0);
        for (int64_t i0 = 0; i0 < x.rows; i0 += kBlockK) {
            const int64_t i1 = x.rows - i0 < kBlockK ? x.rows : i0 + kBlockK;
            V sum(0);
            for (int64_t i = i0; i < i1; ++i) sum = sum + load_items(&x(i, j), x.col_stride, lanes);
            total = total + sum;
        }
        alignas(64) T lane[V::kSize];
        total.store(lane);
        for (int l = 0; l < lanes; ++l) out[j + l] = accumulate ? out[j + l] + lane[l] : lane[l];
    }
}

}  // namespace

// The three gradients read d_out alone, so no barrier is needed between them.
template <class T>
void run(const ops::LinearBackward<T>& op, Team& team) {
    const MatrixView<const T> x_transposed = op.x.transposed();
    // A single column of weights is a row of the transposed product, whose vectors are full.
    const bool turned = (op.w.cols == 1 && op.d_w.row_stride == 1) || pays_to_turn(x_transposed, op.d_out);
    const auto oriented = [=](const auto& m) { return turned ? m.transposed() : m; };
    const MatrixView<const T> left = turned ? op.d_out.transposed() : x_transposed;
    const MatrixView<const T> right = turned ? op.x : op.d_out;
    if (op.l2 == 0)
        gemm(left, right, oriented(op.d_w), op.precision, NoEpilogue(), team, op.accumulate);
    else
        gemm(left, right, oriented(op.d_w), op.precision, PlusScaled<T>{oriented(op.w), T(op.l2)}, team, op.accumulate);
    sum_columns(op.d_out, op.d_b, op.accumulate, team);
    if (!op.d_x) return;
    const MatrixView<const T> w_transposed = op.w.transposed();
    if (op.activation.is_identity()) return gemm(op.d_out, w_transposed, op.d_x, op.precision, NoEpilogue(), team);
    gemm(op.d_out, w_transposed, op.d_x, op.precision, times_derivative(op.x, op.activation), team);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(LinearBackward)
