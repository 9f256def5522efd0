// Arguments that name an entry of a registry: activations, precisions, losses, distributions.
#pragma once

#include "bindings/signature.h"
#include "ops/all.h"

namespace steepest {

// The parameter of an activation: the caller's value, or the default.
template <class B>
double parameter_of(const Call<B>& call, const ActivationInfo& info, const py::object& given) {
    if (!given) return info.default_parameter;
    if (!*info.parameter) ops::reject(call.name(), "activation '", info.name, "' takes no parameter");
    const std::string what = std::string(info.parameter) + " of activation '" + info.name + "'";
    const double parameter = call.number(what.c_str(), given);
    if (!(parameter >= 0 && std::isfinite(parameter)))
        ops::reject(call.name(), what, " is ", parameter, "; it must be finite and not negative");
    return parameter;
}

template <class B>
Activation activation_named(const Call<B>& call, const char* what, py::handle activation) {
    py::object name = py::reinterpret_borrow<py::object>(activation), parameter;
    if ((PyTuple_Check(activation.ptr()) || PyList_Check(activation.ptr())) && py::len(activation) == 2)
        name = activation[py::int_(0)], parameter = activation[py::int_(1)];
    if (!PyUnicode_Check(name.ptr())) reject_type(call.name(), what, " must be a name or a pair (name, parameter)");
    const ActivationInfo& info = call.entry(what, name, kActivations);
    return {info.kind, parameter_of(call, info, parameter)};
}

namespace arg {

inline auto activation(const char* standard) {
    return optional("activation", "Activation", py::str(standard),
                    [](auto& call, const char* what, py::handle given) { return activation_named(call, what, given); });
}

inline auto precision() {
    return optional("precision", "str", py::str("float32"), [](auto& call, const char* what, py::handle given) {
        return call.entry(what, given, kPrecisions).kind;
    });
}

inline auto distribution() {
    return required("distribution", "str", [](auto& call, const char* what, py::handle given) {
        return call.entry(what, given, kDistributions).kind;
    });
}

inline auto loss(const char* name, const char* standard) {
    return optional(name, "str", py::str(standard), [](auto& call, const char* what, py::handle given) {
        return LossEntry(call.entry(what, given, kLosses));
    });
}

// Whether the losses of a row's outputs are summed, not averaged.
inline auto reduction() {
    return optional("reduction", "str", py::str("mean"), [](auto& call, const char* what, py::handle given) {
        const std::string name = call.text(what, given);
        if (name != "mean" && name != "sum") ops::reject(call.name(), what, " '", name, "' is not one of: mean, sum");
        return name == "sum";
    });
}

}  // namespace arg
}  // namespace steepest
