// Signatures of Python functions. The name, kind and default of an argument are written once. From them come pybind11's
// definition, the conversion and checks of the caller's value, and the line of the type stubs.
#pragma once

#include <optional>
#include <tuple>

#include "bindings/call.h"

namespace steepest {

namespace arg {

// An argument. `read` takes the call, the argument's name and the caller's value, and returns the value that the body
// gets.
template <bool kOptional, class Read>
struct Argument {
    const char* name;
    const char* type;     // its type in the stubs
    py::object standard;  // the default of an optional argument
    Read read;

    auto definition() const {
        if constexpr (kOptional)
            return py::arg_v(name, standard);
        else
            return py::arg(name);
    }

    std::string stub() const {
        std::string text = std::string(name) + ": " + type;
        if (kOptional) text += " = " + std::string(py::repr(standard));
        return text;
    }
};

// Arguments after this one are keyword-only.
struct KeywordsOnly {
    auto definition() const { return py::kw_only(); }
    std::string stub() const { return "*"; }
};

inline KeywordsOnly keywords_only() { return {}; }

template <class Read>
Argument<false, Read> required(const char* name, const char* type, Read read) {
    return {name, type, {}, read};
}

template <class Read>
Argument<true, Read> optional(const char* name, const char* type, py::object standard, Read read) {
    return {name, type, std::move(standard), read};
}

// ---- Arrays of float32 or float64: all arrays of a call have the same dtype.

inline auto array(const char* name, int ndim = -1) {
    return required(name, "Array",
                    [ndim](auto& call, const char* what, py::handle given) { return call.floats(what, given, ndim); });
}

inline auto matrix(const char* name) { return array(name, 2); }
inline auto vector(const char* name) { return array(name, 1); }

inline auto optional_array(const char* name, int ndim) {
    return optional(name, "Array | None", py::none(), [ndim](auto& call, const char* what, py::handle given) {
        return call.optional_floats(what, given, ndim);
    });
}

inline auto optional_matrix(const char* name) { return optional_array(name, 2); }
inline auto optional_vector(const char* name) { return optional_array(name, 1); }

// A required argument that may be None.
inline auto vector_or_none(const char* name) {
    return required(name, "Array | None", [](auto& call, const char* what, py::handle given) {
        return call.optional_floats(what, given, 1);
    });
}

inline auto array_or_none(const char* name) {
    return required(name, "Array | None", [](auto& call, const char* what, py::handle given) {
        return call.optional_floats(what, given, -1);
    });
}

// An array of any dtype, float or not.
inline auto any_array(const char* name) {
    return required(name, "Array",
                    [](auto& call, const char* what, py::handle given) { return call.borrow(what, given); });
}

inline auto float64s(const char* name) {
    return required(name, "Float64Array",
                    [](auto& call, const char* what, py::handle given) { return call.float64s(what, given); });
}

// An array that the operation changes in place.
inline auto changed_array(const char* name, int ndim) {
    return required(name, "Array", [ndim](auto& call, const char* what, py::handle given) {
        return call.in_place(what, given, ndim);
    });
}

// A required argument that may be None.
inline auto changed_array_or_none(const char* name, int ndim) {
    return required(name, "Array | None", [ndim](auto& call, const char* what, py::handle given) {
        return given.is_none() ? Array() : call.in_place(what, given, ndim);
    });
}

inline auto optional_changed_array(const char* name, int ndim) {
    return optional(name, "Array | None", py::none(), [ndim](auto& call, const char* what, py::handle given) {
        return given.is_none() ? Array() : call.in_place(what, given, ndim);
    });
}

// The caller's array for a result, or None for a new one; `Call::output` checks it once the shape is known.
inline auto output(const char* name, const char* type = "Array | None") {
    return optional(name, type, py::none(),
                    [](auto&, const char* what, py::handle given) { return Output{what, given}; });
}

// ---- Integers.

inline auto integers(const char* name) {
    return required(name, "Array",
                    [](auto& call, const char* what, py::handle given) { return call.integers(what, given); });
}

inline auto integers_or_none(const char* name) {
    return required(name, "Array | None", [](auto& call, const char* what, py::handle given) {
        return given.is_none() ? Array() : call.integers(what, given);
    });
}

inline auto int64s(const char* name) {
    return required(name, "Int64Array",
                    [](auto& call, const char* what, py::handle given) { return call.int64s(what, given); });
}

inline auto optional_int64s(const char* name) {
    return optional(name, "Int64Array | None", py::none(), [](auto& call, const char* what, py::handle given) {
        return given.is_none() ? Array() : call.int64s(what, given);
    });
}

// The lengths of an array's axes: an integer or a sequence of them.
inline auto shape(const char* name) {
    return required(name, "int | Sequence[int]",
                    [](auto& call, const char* what, py::handle given) { return call.shape(what, given); });
}

inline auto integer(const char* name) {
    return required(name, "int",
                    [](auto& call, const char* what, py::handle given) { return call.integer(what, given); });
}

inline auto integer(const char* name, int64_t standard) {
    return optional(name, "int", py::int_(standard),
                    [](auto& call, const char* what, py::handle given) { return call.integer(what, given); });
}

// A seed or a stream of random numbers.
inline auto word(const char* name) {
    return required(name, "int", [](auto& call, const char* what, py::handle given) { return call.word(what, given); });
}

inline auto word(const char* name, int64_t standard) {
    return optional(name, "int", py::int_(standard),
                    [](auto& call, const char* what, py::handle given) { return call.word(what, given); });
}

inline auto word_or_array(const char* name) {
    return required(name, "int | Int64Array",
                    [](auto& call, const char* what, py::handle given) { return call.word_or_array(what, given); });
}

// An empty optional for None.
inline auto word_or_none(const char* name) {
    return optional(name, "int | None", py::none(), [](auto& call, const char* what, py::handle given) {
        return given.is_none() ? std::optional<uint64_t>() : call.word(what, given);
    });
}

inline auto word_or_array(const char* name, int64_t standard) {
    return optional(name, "int | Int64Array", py::int_(standard),
                    [](auto& call, const char* what, py::handle given) { return call.word_or_array(what, given); });
}

inline auto integer_or_array(const char* name) {
    return required(name, "int | Int64Array", [](auto& call, const char* what, py::handle given) {
        return call.template scalar<int64_t>(what, given);
    });
}

// The position of the first row: 0 for None.
inline auto start_or_array(const char* name) {
    return optional(name, "int | Int64Array | None", py::none(), [](auto& call, const char* what, py::handle given) {
        return given.is_none() ? ScalarView<int64_t>{} : call.template scalar<int64_t>(what, given);
    });
}

// A counter that the operation writes.
inline auto counter(const char* name) {
    return required(name, "Int64Array", [](auto& call, const char* what, py::handle given) {
        return call.template written_scalar<int64_t>(what, given);
    });
}

// ---- Numbers, flags, names.

inline auto number(const char* name) {
    return required(name, "float",
                    [](auto& call, const char* what, py::handle given) { return call.number(what, given); });
}

inline auto number(const char* name, double standard) {
    return optional(name, "float", py::float_(standard),
                    [](auto& call, const char* what, py::handle given) { return call.number(what, given); });
}

// A finite number of at least 0.
inline auto not_negative(const char* name, double standard) {
    return optional(name, "float", py::float_(standard),
                    [](auto& call, const char* what, py::handle given) { return call.not_negative(what, given); });
}

inline auto number_or_array(const char* name) {
    return required(name, "float | Float64Array", [](auto& call, const char* what, py::handle given) {
        return call.template scalar<double>(what, given);
    });
}

inline auto number_or_array(const char* name, double standard) {
    return optional(
        name, "float | Float64Array", py::float_(standard),
        [](auto& call, const char* what, py::handle given) { return call.template scalar<double>(what, given); });
}

// A 0-d array whose number is read when the operation runs.
inline auto number_array(const char* name) {
    return required(name, "Float64Array", [](auto& call, const char* what, py::handle given) {
        const ScalarView<double> number = call.template scalar<double>(what, given);
        if (!number.data) reject_type(call.name(), what, " must be a 0-d float64 array");
        return number.data;
    });
}

// A sum that the operation writes.
inline auto total(const char* name) {
    return required(name, "Float64Array", [](auto& call, const char* what, py::handle given) {
        return call.template written_scalar<double>(what, given);
    });
}

inline auto flag(const char* name, bool standard) {
    return optional(name, "bool", py::bool_(standard),
                    [](auto& call, const char* what, py::handle given) { return call.flag(what, given); });
}

inline auto text(const char* name) {
    return required(name, "str", [](auto& call, const char* what, py::handle given) { return call.text(what, given); });
}

inline auto text(const char* name, const char* standard) {
    return optional(name, "str", py::str(standard),
                    [](auto& call, const char* what, py::handle given) { return call.text(what, given); });
}

// An argument that the body itself reads and checks.
inline auto as_given(const char* name, const char* type) {
    return required(name, type, [](auto&, const char*, py::handle given) { return given; });
}

inline auto as_given(const char* name, const char* type, py::object standard) {
    return optional(name, type, std::move(standard), [](auto&, const char*, py::handle given) { return given; });
}

}  // namespace arg

template <class... Arguments>
struct Signature {
    const char* name;
    const char* result;  // type of the result in the stubs
    std::tuple<Arguments...> arguments;

    std::string stub() const {
        std::string list;
        const auto append = [&](const std::string& one) { list.append(list.empty() ? "" : ", ").append(one); };
        std::apply([&](const auto&... argument) { (append(argument.stub()), ...); }, arguments);
        return "(" + list + ") -> " + result;
    }
};

template <class... Arguments>
Signature<Arguments...> signature(const char* name, const char* result, Arguments... arguments) {
    return {name, result, {std::move(arguments)...}};
}

namespace detail {

template <class Read>
struct Reader {
    const char* name;
    Read read;
};

template <bool kOptional, class Read>
std::tuple<Reader<Read>> reader(const arg::Argument<kOptional, Read>& argument) {
    return {{argument.name, argument.read}};
}
inline std::tuple<> reader(const arg::KeywordsOnly&) { return {}; }

template <class>
using Given = py::handle;

}  // namespace detail

// Exports body(call, arguments ...) under the name of the signature. Arguments are read in order, from the first to the
// last.
template <class B, class Body, class... Arguments>
void define(py::module_& m, const Signature<Arguments...>& signature, Body body) {
    const auto exported = [&]<class... Read>(const detail::Reader<Read>&... readers) {
        return [name = signature.name, body, readers...](detail::Given<Read>... given) {
            Call<B> call(name);
            std::tuple values{readers.read(call, readers.name, given)...};
            return std::apply([&](auto&... value) { return body(call, value...); }, values);
        };
    };
    std::apply(
        [&](const auto&... argument) {
            const auto function = std::apply(exported, std::tuple_cat(detail::reader(argument)...));
            m.def(signature.name, function, argument.definition()...);
        },
        signature.arguments);
    m.attr("SIGNATURES")[signature.name] = signature.stub();
}

}  // namespace steepest
