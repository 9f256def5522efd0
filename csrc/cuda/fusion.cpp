#include "cuda/fusion.h"

#include <optional>

#include "cuda/counters.h"
#include "cuda/gemm_update.h"
#include "cuda/linear_backward.h"
#include "cuda/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// For each operation, the launches that replace it. The list is empty if another operation's launches include its work.
using Places = std::vector<Launches>;

// `m` as a matrix of this shape, if it has the shape or holds its items in one row.
template <class T>
std::optional<MatrixView<T>> in_shape(const MatrixView<T>& m, int64_t rows, int64_t cols) {
    if (m.rows == rows && m.cols == cols) return m;
    if (m.rows == 1 && m.cols == rows * cols && m.col_stride == 1) return MatrixView<T>{m.data, rows, cols, cols, 1};
    return std::nullopt;
}

template <class T>
bool is_gradient_of_weights(const MatrixView<const T>& grad, const MatrixView<T>& d_w) {
    const auto shaped = in_shape(grad, d_w.rows, d_w.cols);
    return shaped && shaped->data == d_w.data && shaped->row_stride == d_w.row_stride &&
           shaped->col_stride == d_w.col_stride;
}

template <class T>
bool is_gradient_of_biases(const MatrixView<const T>& grad, const VectorView<T>& d_b) {
    return grad.rows == 1 && grad.data == d_b.data && grad.cols == d_b.size &&
           (grad.col_stride == d_b.stride || grad.cols == 1);
}

// Fuses an update operation with the matrix products that compute the gradients of its layers.
template <class T>
class UpdateFusion {
  public:
    UpdateFusion(const std::vector<Recorded>& operations, size_t place, const Device& device)
        : operations_(operations),
          place_(place),
          device_(device),
          rest_(std::any_cast<ops::Update<T>>(operations[place].op)) {}

    void apply(Places& places) {
        // Clipping needs the norm of all gradients before the first update.
        if (rest_.adjustments.clips()) return;
        for (size_t i = place_; i-- > 0;)
            if (const auto* backward = std::any_cast<ops::LinearBackward<T>>(&operations_[i].op)) take(i, *backward);
        if (layers_.empty()) return;
        for (const auto& [i, backward] : taken_) {
            places[i].clear();
            if (backward.d_x)
                places[i].push_back([call = input_gradient(backward)](Stream& stream) { gemm(call, stream); });
        }
        const auto update = std::any_cast<ops::Update<T>>(operations_[place_].op);
        places[place_] = {[layers = layers_, update](Stream& s) { launch_with_update(layers, update, s); }};
        if (!rest_.tensors.empty()) places[place_].push_back([rest = rest_](Stream& s) { launch(rest, s); });
    }

  private:
    // Adds a layer to those that the launch of their products updates, if that does not change any result.
    void take(size_t i, const ops::LinearBackward<T>& backward) {
        auto& tensors = rest_.tensors;
        size_t weight = tensors.size(), bias = tensors.size();
        for (size_t t = 0; t < tensors.size(); ++t) {
            if (is_gradient_of_weights(tensors[t].grad, backward.d_w)) weight = t;
            if (is_gradient_of_biases(tensors[t].grad, backward.d_b)) bias = t;
        }
        if (weight == tensors.size()) return;
        GradientUpdate<T> layer{weight_gradient(backward), {}};
        if (!takes_update(layer.gradient, device_)) return;
        const int64_t rows = backward.d_w.rows, cols = backward.d_w.cols;
        const auto param = in_shape(tensors[weight].param, rows, cols);
        if (!param) return;
        layer.target.param = *param;
        layer.target.penalised = tensors[weight].penalised;
        for (int s = 0; s < 2; ++s) {
            if (!tensors[weight].state[s]) continue;
            const auto state = in_shape(tensors[weight].state[s], rows, cols);
            if (!state) return;
            layer.target.state[s] = *state;
        }

        // Up to the update, no operation may use the product's results, change its inputs, or fail: the fused gradient
        // is not computed before the update.
        ops::Accesses inputs, results, changes;
        inputs(ops::kRead, "x", backward.x), inputs(ops::kRead, "d_out", backward.d_out);
        if (backward.l2 != 0) results(ops::kRead, "w", backward.w);
        results(ops::kWrite, "d_w", backward.d_w), results(ops::kWrite, "d_b", backward.d_b);
        ops::Accesses product = inputs;
        product.append(results);
        for (size_t k = i + 1; k < place_; ++k)
            if (operations_[k].may_fail || operations_[k].accesses.conflicts_in_memory_with(product)) return;

        // The blocks of one launch run concurrently: no block may use memory that another changes.
        const ops::UpdateRuleInfo& names = ops::info_of(rest_.rule);
        tensors[weight].visit(changes, names);
        if (bias != tensors.size()) tensors[bias].visit(changes, names);
        if (changes.conflicts_in_memory_with(inputs)) return;
        ops::Accesses all = product;
        all.append(changes);
        for (const ops::Accesses& other : accesses_)
            if (other.conflicts_in_memory_with(all)) return;

        if (bias != tensors.size()) {
            const auto& b = tensors[bias];
            const auto row = [](const MatrixView<T>& m) { return VectorView<T>{m.data, m.cols, m.col_stride}; };
            layer.target.bias = row(b.param);
            layer.target.bias_penalised = b.penalised;
            for (int s = 0; s < 2; ++s)
                if (b.state[s]) layer.target.bias_state[s] = row(b.state[s]);
        }
        layers_.push_back(layer);
        accesses_.push_back(all);
        taken_.push_back({i, backward});
        const size_t first = weight > bias ? weight : bias, second = weight > bias ? bias : weight;
        for (const size_t t : {first, second})
            if (t < tensors.size()) tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(t));
    }

    const std::vector<Recorded>& operations_;
    size_t place_;
    const Device& device_;
    ops::Update<T> rest_;  // the update of the tensors that are not fused
    std::vector<GradientUpdate<T>> layers_;
    std::vector<ops::Accesses> accesses_;
    std::vector<std::pair<size_t, ops::LinearBackward<T>>> taken_;
};

template <class T>
void fuse_updates(const std::vector<Recorded>& operations, const Device& device, Places& places) {
    for (size_t i = 0; i < operations.size(); ++i)
        if (std::any_cast<ops::Update<T>>(&operations[i].op)) UpdateFusion<T>(operations, i, device).apply(places);
}

std::optional<ScalarStep> scalar_step_of(const std::any& op) {
    if (const auto* increment = std::any_cast<ops::Increment>(&op)) return scalar_step(*increment);
    if (const auto* accumulate = std::any_cast<ops::Accumulate>(&op)) return scalar_step(*accumulate);
    if (const auto* look_up = std::any_cast<ops::LookUp>(&op)) return scalar_step(*look_up);
    if (const auto* require_finite = std::any_cast<ops::RequireFinite>(&op)) return scalar_step(*require_finite);
    return std::nullopt;
}

// Groups operations on single numbers into runs. A run is launched at the place of its first operation.
void fuse_scalars(const std::vector<Recorded>& operations, Places& places) {
    std::vector<std::pair<size_t, std::vector<ScalarStep>>> runs;
    // The memory that the operations since the last run use, and whether one of them may fail.
    ops::Accesses since;
    bool may_fail = true;
    const auto add = [&](size_t place, const ScalarStep& step, const ops::Accesses& accesses) {
        if (runs.empty() || may_fail || since.conflicts_in_memory_with(accesses)) {
            runs.push_back({place, {}});
            since = ops::Accesses(), may_fail = false;
        }
        runs.back().second.push_back(step);
    };
    for (size_t i = 0; i < operations.size(); ++i) {
        if (const auto step = scalar_step_of(operations[i].op)) {
            add(i, *step, operations[i].accesses);
            places[i].clear();
        } else {
            since.append(operations[i].accesses);
            may_fail = may_fail || operations[i].may_fail;
        }
    }
    places.emplace_back();
    add(operations.size(), ScalarStep(), ops::Accesses());
    for (const auto& [place, steps] : runs)
        places[place] = {[steps = steps](Stream& stream) { launch_scalar_steps(steps, stream); }};
}

}  // namespace

Launches fuse(const std::vector<Recorded>& operations, const Device& device) {
    Places places;
    for (const Recorded& operation : operations) places.push_back({operation.launch});
    fuse_updates<float>(operations, device, places);
    fuse_updates<double>(operations, device, places);
    fuse_scalars(operations, places);
    Launches launches;
    for (auto& place : places)
        for (auto& launch : place) launches.push_back(std::move(launch));
    return launches;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
