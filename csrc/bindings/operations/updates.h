// The Python function that updates parameters by any rule of the registry. No arithmetic here.
#pragma once

#include "bindings/operations/elementwise.h"

namespace steepest {

// Name of a rule -> (the name that its errors start with, the names of its states).
inline py::dict described_update_rules() {
    py::dict rules;
    for (const ops::UpdateRuleInfo& rule : ops::kUpdateRules) {
        py::list states;
        for (int s = 0; s < rule.states(); ++s) states.append(rule.state[s]);
        rules[rule.name] = py::make_tuple(rule.operation, py::tuple(states));
    }
    return rules;
}

// A parameter, its gradient and its states.
struct UpdateArrays {
    Array param, grad, state[2];
    bool penalised = true;
};

inline std::vector<py::object> list_of(py::handle arrays) {
    if (!PyList_Check(arrays.ptr()) && !PyTuple_Check(arrays.ptr()))
        return {py::reinterpret_borrow<py::object>(arrays)};
    std::vector<py::object> list;
    for (const py::handle array : arrays) list.push_back(py::reinterpret_borrow<py::object>(array));
    return list;
}

template <class B>
void require_as_many(const Call<B>& call, const char* what, size_t n, size_t params) {
    if (n != params) ops::reject(call.name(), what, " has ", n, " items, but params has ", params);
}

template <class B>
void require_like(const Call<B>& call, const char* what, const Array& array, const Array& param) {
    if (!array.same_shape(param))
        ops::reject(call.name(), what, " has shape ", array.shape_text(), ", but params has shape ",
                    param.shape_text());
    require_matrix_form(call, what, array);
}

template <class B>
std::vector<UpdateArrays> update_arrays(Call<B>& call, const ops::UpdateRuleInfo& rule, py::handle params_,
                                        py::handle grads_, py::handle states_) {
    const auto params = list_of(params_), grads = list_of(grads_), given = list_of(states_);
    require_as_many(call, "grads", grads.size(), params.size());
    if (static_cast<int>(given.size()) != rule.states())
        ops::reject(call.name(), "states has ", given.size(), " items; the rule has ", rule.states());
    std::vector<py::object> states[2];
    for (int s = 0; s < rule.states(); ++s) {
        if (given[s].is_none()) reject_type(call.name(), rule.state[s], " must be arrays, not None");
        states[s] = list_of(given[s]);
        require_as_many(call, rule.state[s], states[s].size(), params.size());
    }
    std::vector<UpdateArrays> all(params.size());
    for (size_t i = 0; i < params.size(); ++i) {
        UpdateArrays& a = all[i];
        a.param = call.in_place("params", params[i], -1);
        a.grad = call.floats("grads", grads[i], -1);
        require_like(call, "grads", a.grad, a.param);
        for (int s = 0; s < rule.states(); ++s) {
            a.state[s] = call.in_place(rule.state[s], states[s][i], -1);
            require_like(call, rule.state[s], a.state[s], a.param);
        }
        require_matrix_form(call, "params", a.param);
    }
    return all;
}

// Reads which parameters the penalties act on: all for None.
template <class B>
void read_penalised(Call<B>& call, std::vector<UpdateArrays>& arrays, py::handle penalised) {
    if (penalised.is_none()) return;
    if (!PyList_Check(penalised.ptr()) && !PyTuple_Check(penalised.ptr()))
        reject_type(call.name(), "penalised must be a list of True and False, not ", Py_TYPE(penalised.ptr())->tp_name);
    require_as_many(call, "penalised", py::len(penalised), arrays.size());
    for (size_t i = 0; i < arrays.size(); ++i)
        arrays[i].penalised = call.flag("penalised", py::object(penalised[py::int_(i)]));
}

// Narrow contiguous tensors become one long row: vectors then leave a remainder once, not in every row.
template <class T>
std::vector<ops::UpdateTensor<T>> update_views(const std::vector<UpdateArrays>& arrays) {
    constexpr int64_t kNarrow = 64;
    std::vector<ops::UpdateTensor<T>> list;
    for (const UpdateArrays& a : arrays) {
        ops::UpdateTensor<T> u{a.param.template as_matrix<T>(),
                               a.grad.template as_matrix<const T>(),
                               {a.state[0].template as_matrix<T>(), a.state[1].template as_matrix<T>()},
                               a.penalised};
        const auto flat = [](const Array& array) { return !array || array.is_contiguous(); };
        if (u.param.cols < kNarrow && flat(a.param) && flat(a.grad) && flat(a.state[0]) && flat(a.state[1])) {
            const int64_t n = u.param.rows * u.param.cols;
            const auto flatten = [n](auto& view) {
                if (view) view.rows = 1, view.cols = n, view.row_stride = 0, view.col_stride = 1;
            };
            flatten(u.param), flatten(u.grad), flatten(u.state[0]), flatten(u.state[1]);
        }
        if (u.param.rows > 0 && u.param.cols > 0) list.push_back(u);
    }
    return list;
}

// A decay rate of a running mean: the newest item has the weight 1 - decay, which must not vanish.
template <class B>
void require_decay(const Call<B>& call, const ops::UpdateRuleInfo& rule, const char* what, double value) {
    if (rule.averages && *what && !(value >= 0 && value < 1))
        ops::reject(call.name(), what, " is ", value, "; it must be in [0, 1)");
}

namespace arg {

// Errors start with the name of the rule's own function.
inline auto update_rule() {
    return required("rule", "str", [](auto& call, const char* what, py::handle given) {
        const ops::UpdateRuleInfo& rule = call.entry(what, given, ops::kUpdateRules);
        call.rename(rule.operation);
        return &rule;
    });
}

// The number of the step, counted from 1.
inline auto step_number() {
    return optional("step", "int | Int64Array", py::int_(1), [](auto& call, const char* what, py::handle given) {
        const auto step = call.template scalar<int64_t>(what, given);
        if (!step.data && step.value < 1)
            ops::reject(call.name(), what, " is ", step.value, "; updates are counted from 1");
        return step;
    });
}

inline auto max_norm() {
    return optional("max_norm", "float | None", py::none(), [](auto& call, const char* what, py::handle given) {
        const double value = given.is_none() ? __builtin_inf() : call.number(what, given);
        if (!(value > 0)) ops::reject(call.name(), what, " is ", value, "; it must be above 0");
        return value;
    });
}

}  // namespace arg

template <class B>
void export_updates(py::module_& m) {
    m.attr("UPDATE_RULES") = described_update_rules();

    define<B>(
        m,
        signature("update", "None", arg::update_rule(), arg::as_given("params", "Arrays"),
                  arg::as_given("grads", "Arrays"), arg::as_given("states", "Sequence[Arrays | None]"),
                  arg::number_or_array("lr"), arg::step_number(), arg::as_given("beta1", "float", py::float_(0.0)),
                  arg::as_given("beta2", "float", py::float_(0.0)), arg::as_given("eps", "float", py::float_(0.0)),
                  arg::number("l2", 0.0), arg::not_negative("weight_decay", 0.0), arg::not_negative("l1", 0.0),
                  arg::max_norm(), arg::as_given("penalised", "Sequence[bool] | None", py::none())),
        [](Call<B>& call, const ops::UpdateRuleInfo* rule, py::handle params, py::handle grads, py::handle states,
           ScalarView<double> lr, ScalarView<int64_t> step, py::handle beta1, py::handle beta2, py::handle eps,
           double l2, double weight_decay, double l1, double max_norm, py::handle penalised) {
            const auto own = [&](int i, py::handle given) {
                return *rule->number[i] ? call.number(rule->number[i], given) : 0.0;
            };
            const RuleParameters numbers{own(0, beta1), own(1, beta2), own(2, eps)};
            if (rule->rule == UpdateRule::kSgd && numbers.beta1 != 0)
                ops::reject(call.name(), "velocities are needed when momentum is not 0");
            require_decay(call, *rule, rule->number[0], numbers.beta1);
            require_decay(call, *rule, rule->number[1], numbers.beta2);
            std::vector<UpdateArrays> arrays = update_arrays(call, *rule, params, grads, states);
            read_penalised(call, arrays, penalised);
            call.submit_float([&]<class T>() {
                return ops::Update<T>{rule->rule, numbers, {l2, weight_decay, l1, max_norm}, update_views<T>(arrays),
                                      lr,         step};
            });
        });
}

}  // namespace steepest
