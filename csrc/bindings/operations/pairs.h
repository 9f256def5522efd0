// Arguments of windows over images: a number for rows and one for columns.
#pragma once

#include <optional>

#include "bindings/signature.h"

namespace steepest::arg {

// Numbers of rows and of columns: one integer for both, or a pair.
struct Pair {
    int64_t rows, columns;

    int64_t operator[](int axis) const { return axis == 0 ? rows : columns; }
};

template <class C>
Pair read_pair(C& call, const char* what, py::handle given) {
    if (!PyTuple_Check(given.ptr()) && !PyList_Check(given.ptr())) {
        const int64_t both = call.integer(what, given);
        return {both, both};
    }
    if (py::len(given) != 2) ops::reject(call.name(), what, " must be an integer or a pair (rows, columns)");
    const auto item = [&](int i) { return call.integer(what, py::object(given[py::int_(i)])); };
    return {item(0), item(1)};
}

inline auto pair(const char* name) {
    return required(name, "int | Sequence[int]",
                    [](auto& call, const char* what, py::handle given) { return read_pair(call, what, given); });
}

// An empty optional for None.
inline auto pair_or_none(const char* name) {
    return optional(name, "int | Sequence[int] | None", py::none(), [](auto& call, const char* what, py::handle given) {
        return given.is_none() ? std::optional<Pair>() : read_pair(call, what, given);
    });
}

inline auto pair(const char* name, int64_t standard) {
    return optional(name, "int | Sequence[int]", py::int_(standard),
                    [](auto& call, const char* what, py::handle given) { return read_pair(call, what, given); });
}

}  // namespace steepest::arg
