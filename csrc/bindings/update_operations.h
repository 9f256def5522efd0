// The Python functions that update parameters.
#pragma once

#include <optional>

#include "bindings/operations.h"

namespace steepest {

// name of a rule -> (the function that takes its step, the names of its states)
inline py::dict update_rules() {
    py::dict rules;
    for (const ops::UpdateRuleNames& rule : ops::kUpdateRules) {
        py::list states;
        for (int s = 0; s < rule.states(); ++s) states.append(rule.state[s]);
        rules[rule.name] = py::make_tuple(rule.operation, py::tuple(states));
    }
    return rules;
}

template <class B>
struct Updates {
    static std::vector<py::object> list_of(py::handle arrays) {
        if (!PyList_Check(arrays.ptr()) && !PyTuple_Check(arrays.ptr()))
            return {py::reinterpret_borrow<py::object>(arrays)};
        std::vector<py::object> list;
        for (const py::handle array : arrays) list.push_back(py::reinterpret_borrow<py::object>(array));
        return list;
    }

    struct Tensors {
        Array param, grad, state[2];
        bool penalised = true;
    };

    // Which tensors the penalties act on; all where it is absent.
    using Mask = std::optional<std::vector<bool>>;

    // What every update takes beside its own numbers.
    struct Options {
        Adjustments adjustments;
        Mask penalised;
    };

    static Options options(Call<B>& call, py::handle l2, py::handle weight_decay, py::handle l1, py::handle max_norm_,
                           py::handle penalised) {
        Options options;
        options.adjustments.l2 = call.number("l2", l2);
        options.adjustments.decay = not_negative(call, "weight_decay", weight_decay);
        options.adjustments.l1 = not_negative(call, "l1", l1);
        if (!max_norm_.is_none()) {
            const double max_norm = call.number("max_norm", max_norm_);
            if (!(max_norm > 0)) ops::reject(call.name(), "max_norm is ", max_norm, "; it must be above 0");
            options.adjustments.max_norm = max_norm;
        }
        if (penalised.is_none()) return options;
        if (!PyList_Check(penalised.ptr()) && !PyTuple_Check(penalised.ptr()))
            reject_type(call.name(), "penalised must be a list of True and False, not ",
                        Py_TYPE(penalised.ptr())->tp_name);
        options.penalised.emplace();
        for (const py::handle item : penalised) options.penalised->push_back(call.flag("penalised", item));
        return options;
    }

    static double not_negative(const Call<B>& call, const char* what, py::handle given) {
        const double value = call.number(what, given);
        if (!(value >= 0 && value < __builtin_inf()))
            ops::reject(call.name(), what, " is ", value, "; it must be finite and not negative");
        return value;
    }

    static std::vector<Tensors> tensors(Call<B>& call, py::handle params_, py::handle grads_,
                                        const py::handle (&states_)[2], const char* const (&names)[2],
                                        const Options& options) {
        const auto params = list_of(params_), grads = list_of(grads_);
        std::vector<py::object> states[2];
        require_equal(call, "grads", grads.size(), params.size());
        for (int s = 0; s < 2; ++s) {
            if (!*names[s] || states_[s].is_none()) continue;
            states[s] = list_of(states_[s]);
            require_equal(call, names[s], states[s].size(), params.size());
        }
        if (options.penalised) require_equal(call, "penalised", options.penalised->size(), params.size());
        std::vector<Tensors> result(params.size());
        for (size_t i = 0; i < params.size(); ++i) {
            Tensors& t = result[i];
            t.param = call.in_place("params", params[i], -1);
            t.grad = call.floats("grads", grads[i], -1);
            require_like(call, "grads", t.grad, t.param);
            for (int s = 0; s < 2; ++s) {
                if (states[s].empty()) continue;
                t.state[s] = call.in_place(names[s], states[s][i], -1);
                require_like(call, names[s], t.state[s], t.param);
            }
            Elementwise<B>::require_matrix_form(call, "params", t.param);
            t.penalised = !options.penalised || (*options.penalised)[i];
        }
        return result;
    }

    static void require_equal(const Call<B>& call, const char* what, size_t n, size_t params) {
        if (n != params) ops::reject(call.name(), what, " has ", n, " items, but params has ", params);
    }

    static void require_like(const Call<B>& call, const char* what, const Array& array, const Array& param) {
        if (!array.same_shape(param))
            ops::reject(call.name(), what, " has shape ", array.shape_text(), ", but params has shape ",
                        param.shape_text());
        Elementwise<B>::require_matrix_form(call, what, array);
    }

    // Narrow contiguous tensors become one long row, which vectors cross without a remainder at every row.
    template <class T>
    static std::vector<ops::UpdateTensor<T>> views(const std::vector<Tensors>& tensors) {
        constexpr int64_t kNarrow = 64;
        std::vector<ops::UpdateTensor<T>> list;
        for (const Tensors& t : tensors) {
            ops::UpdateTensor<T> u{t.param.template as_matrix<T>(),
                                   t.grad.template as_matrix<const T>(),
                                   {t.state[0].template as_matrix<T>(), t.state[1].template as_matrix<T>()},
                                   t.penalised};
            const auto flat = [](const Array& a) { return !a || a.is_contiguous(); };
            if (u.param.cols < kNarrow && flat(t.param) && flat(t.grad) && flat(t.state[0]) && flat(t.state[1])) {
                const int64_t n = u.param.rows * u.param.cols;
                const auto flatten = [n](auto& m) {
                    if (m) m.rows = 1, m.cols = n, m.row_stride = 0, m.col_stride = 1;
                };
                flatten(u.param), flatten(u.grad), flatten(u.state[0]), flatten(u.state[1]);
            }
            if (u.param.rows > 0 && u.param.cols > 0) list.push_back(u);
        }
        return list;
    }

    // The rule's own numbers and what they are read from.
    struct Step {
        RuleParameters parameters;
        py::handle lr, step;  // `step` is for those rules that count
    };

    static void submit(Call<B>& call, UpdateRule rule, py::handle params, py::handle grads, py::handle state0,
                       py::handle state1, const Step& step, const Options& options) {
        const auto all = tensors(call, params, grads, {state0, state1}, ops::names_of(rule).state, options);
        const auto lr = call.template scalar<double>("lr", step.lr);
        ScalarView<int64_t> count{nullptr, 1};
        if (!step.step.is_none()) count = call.template scalar<int64_t>("step", step.step);
        if (!count.data && count.value < 1)
            ops::reject(call.name(), "step is ", count.value, "; updates are counted from 1");
        call.submit_float([&]<class T>() {
            return ops::Update<T>{rule, step.parameters, options.adjustments, views<T>(all), lr, count};
        });
    }

    static double share(const Call<B>& call, const char* what, py::handle given) {
        const double value = call.number(what, given);
        if (!(value >= 0 && value < 1)) ops::reject(call.name(), what, " is ", value, "; it must be in [0, 1)");
        return value;
    }

    static void require_array(const Call<B>& call, const char* what, py::handle state) {
        if (state.is_none()) reject_type(call.name(), what, " must be arrays, not None");
    }

    static void sgd_update(py::handle params, py::handle grads, py::handle velocities, py::handle lr,
                           py::handle momentum_, py::handle nesterov_, py::handle l2, py::handle weight_decay,
                           py::handle l1, py::handle max_norm, py::handle penalised) {
        Call<B> call("sgd_update");
        const double momentum = call.number("momentum", momentum_);
        const bool nesterov = call.flag("nesterov", nesterov_);
        if (velocities.is_none() && momentum != 0)
            ops::reject(call.name(), "velocities are needed when momentum is not 0");
        if (nesterov && momentum == 0) ops::reject(call.name(), "nesterov needs a momentum above 0");
        const UpdateRule rule = velocities.is_none() ? UpdateRule::kSgd
                                : nesterov           ? UpdateRule::kNesterov
                                                     : UpdateRule::kMomentum;
        submit(call, rule, params, grads, velocities, py::none(), {{momentum, 0, 0}, lr, py::none()},
               options(call, l2, weight_decay, l1, max_norm, penalised));
    }

    static void adagrad_update(py::handle params, py::handle grads, py::handle sum_sq, py::handle lr, py::handle eps,
                               py::handle l2, py::handle weight_decay, py::handle l1, py::handle max_norm,
                               py::handle penalised) {
        Call<B> call("adagrad_update");
        require_array(call, "sum_sq", sum_sq);
        const RuleParameters parameters{0, 0, call.number("eps", eps)};
        submit(call, UpdateRule::kAdaGrad, params, grads, sum_sq, py::none(), {parameters, lr, py::none()},
               options(call, l2, weight_decay, l1, max_norm, penalised));
    }

    static void rmsprop_update(py::handle params, py::handle grads, py::handle exp_avg_sq, py::handle lr,
                               py::handle rho, py::handle eps, py::handle l2, py::handle weight_decay, py::handle l1,
                               py::handle max_norm, py::handle penalised) {
        Call<B> call("rmsprop_update");
        require_array(call, "exp_avg_sq", exp_avg_sq);
        const RuleParameters parameters{0, share(call, "rho", rho), call.number("eps", eps)};
        submit(call, UpdateRule::kRmsProp, params, grads, exp_avg_sq, py::none(), {parameters, lr, py::none()},
               options(call, l2, weight_decay, l1, max_norm, penalised));
    }

    static void adam_update(py::handle params, py::handle grads, py::handle exp_avg, py::handle exp_avg_sq,
                            py::handle step, py::handle lr, py::handle beta1, py::handle beta2, py::handle eps,
                            py::handle l2, py::handle weight_decay, py::handle l1, py::handle max_norm,
                            py::handle penalised) {
        Call<B> call("adam_update");
        const RuleParameters parameters{share(call, "beta1", beta1), share(call, "beta2", beta2),
                                        call.number("eps", eps)};
        if (exp_avg.is_none() || exp_avg_sq.is_none()) require_array(call, "exp_avg and exp_avg_sq", py::none());
        if (step.is_none()) reject_type(call.name(), "step must be a number or a 0-d int64 array");
        submit(call, UpdateRule::kAdam, params, grads, exp_avg, exp_avg_sq, {parameters, lr, step},
               options(call, l2, weight_decay, l1, max_norm, penalised));
    }
};

}  // namespace steepest
