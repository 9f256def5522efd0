// Multi-tensor parameter updates: one launch for all tensors of a model, each element by its rule's functor.
#pragma once

#include <algorithm>
#include <vector>

#include "common/update_rules.h"
#include "ops/contract.h"

namespace steepest::ops {

// One tensor with its gradient and as many state arrays as the rule keeps, all of one shape.
template <class T>
struct UpdateTensor {
    MatrixView<T> param;
    MatrixView<const T> grad;
    MatrixView<T> state[2];
};

template <class T>
struct TensorList {
    std::vector<UpdateTensor<T>> tensors;

    template <class Visitor>
    void visit(Visitor&& v) const {
        for (const auto& t : tensors) v.read(t.grad), v.write(t.param), v.write(t.state[0]), v.write(t.state[1]);
    }

    void check(const char* name, const char* const state_names[2]) const {
        for (const auto& t : tensors) {
            require_same_shape(name, "grads", t.grad, "params", t.param);
            require_apart(name, "params", t.param, "grads", t.grad);
            for (int s = 0; s < 2; ++s) {
                if (!t.state[s]) continue;
                require_same_shape(name, state_names[s], t.state[s], "params", t.param);
                require_apart(name, state_names[s], t.state[s], "params", t.param);
                require_apart(name, state_names[s], t.state[s], "grads", t.grad);
            }
            require_apart(name, state_names[0], t.state[0], state_names[1], t.state[1]);
        }
        // The tensors are updated side by side. Shared ones are passed once, with the sum of their gradients.
        require_all_apart(name, "params", [](const UpdateTensor<T>& t) { return t.param; });
        for (int s = 0; s < 2; ++s)
            require_all_apart(name, state_names[s], [s](const UpdateTensor<T>& t) { return t.state[s]; });
    }

    template <class Member>
    void require_all_apart(const char* name, const char* what, Member&& member) const {
        std::vector<MemoryRange> ranges;
        ranges.reserve(tensors.size());
        for (const auto& t : tensors) ranges.push_back(memory_range(member(t)));
        std::sort(ranges.begin(), ranges.end(),
                  [](const MemoryRange& a, const MemoryRange& b) { return a.begin < b.begin; });
        for (size_t i = 0; i < ranges.size(); ++i)
            for (size_t j = i + 1; j < ranges.size() && ranges[j].begin < ranges[i].end; ++j)
                require(!overlap(ranges[i], ranges[j]), name, "two of the ", what, " overlap in memory");
    }

    // Parameters and states are read and written, gradients read.
    double bytes(int states) const { return (3.0 + 2.0 * states) * sizeof(T) * size(); }

    double size() const {
        double n = 0;
        for (const auto& t : tensors) n += 1.0 * t.param.rows * t.param.cols;
        return n;
    }
};

template <class T>
struct SgdUpdate {
    static constexpr const char* kName = "sgd_update";
    TensorList<T> list;  // state[0]: velocity, absent without momentum
    ScalarView<double> lr;
    double momentum = 0, weight_decay = 0;
    bool nesterov = false;

    template <class Visitor>
    void visit(Visitor&& v) const {
        list.visit(v), v.read(lr);
    }

    void check() const {
        static constexpr const char* kStates[2] = {"velocities", "velocities"};
        list.check(kName, kStates);
    }

    double flops() const { return 6 * list.size(); }
    double bytes() const { return list.bytes(!list.tensors.empty() && list.tensors[0].state[0] ? 1 : 0); }
};

template <class T>
struct AdamUpdate {
    static constexpr const char* kName = "adam_update";
    TensorList<T> list;  // state[0]: exp_avg, state[1]: exp_avg_sq
    ScalarView<double> lr;
    ScalarView<int64_t> step;  // the number of this update, counted from 1
    double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;

    template <class Visitor>
    void visit(Visitor&& v) const {
        list.visit(v), v.read(lr), v.read(step);
    }

    void check() const {
        static constexpr const char* kStates[2] = {"exp_avg", "exp_avg_sq"};
        list.check(kName, kStates);
    }

    double flops() const { return 14 * list.size(); }
    double bytes() const { return list.bytes(2); }
};

}  // namespace steepest::ops
