// Raises the failures of kernels as Python exceptions. The text is the same on every device.
#pragma once

#include <pybind11/pybind11.h>

#include <cmath>
#include <sstream>
#include <string>

#include "ops/all.h"

namespace steepest {

namespace py = pybind11;

// Raised when a value in a replay is no longer finite; Python has a class of this name.
struct DivergenceError {
    std::string text;
    int64_t step;
};

inline const char* name_of(OperationNumber operation) {
    switch (operation) {
#define STEEPEST_CASE(Name) \
    case OperationNumber::k##Name: return ops::Name<float>::kName;
        STEEPEST_FLOAT_OPERATIONS(STEEPEST_CASE)
#undef STEEPEST_CASE
#define STEEPEST_CASE(Name) \
    case OperationNumber::k##Name: return ops::Name::kName;
        STEEPEST_OTHER_OPERATIONS(STEEPEST_CASE)
#undef STEEPEST_CASE
    }
    return "";
}

[[noreturn]] inline void raise(const Failure& f, int64_t step) {
    std::ostringstream text;
    text << '[' << name_of(f.operation) << "] ";
    switch (f.kind) {
        case Failure::kLabel:
            text << "label " << f.value << " at row " << f.position << " is outside 0.." << f.limit - 1;
            throw py::value_error(text.str());
        case Failure::kIndex:
            text << "index " << f.value << " at position " << f.position << " is outside 0.." << f.limit - 1;
            throw py::index_error(text.str());
        case Failure::kStart:
            text << f.position << " rows from position " << f.value << " on are not within the " << f.limit
                 << " indices";
            throw py::index_error(text.str());
        case Failure::kColumn:
            text << "column " << f.value << " of item " << f.position << " is outside 0.." << f.limit - 1;
            throw py::index_error(text.str());
        case Failure::kPointer:
            text << "indptr is " << f.value << " at position " << f.position << ": it must not decrease, and lie in 0.."
                 << f.limit;
            throw py::value_error(text.str());
        case Failure::kSpan:
            text << "sequence " << f.position << " has " << static_cast<int64_t>(f.number) << " rows from row "
                 << f.value << " on, which are not within the " << f.limit << " rows";
            throw py::value_error(text.str());
        case Failure::kMask:
            text << "sequence " << f.position << " has " << f.value << (f.number == 0 ? " queries" : " keys")
                 << ", but a mask has only " << f.limit;
            throw py::value_error(text.str());
        default:
            // The sign of NaN has no meaning, but would be printed.
            text << "a value became " << (std::isnan(f.number) ? std::abs(f.number) : f.number) << " in step " << step;
            throw DivergenceError{text.str(), step};
    }
}

[[noreturn]] inline void raise_out_of_memory(const char* name) {
    PyErr_Format(PyExc_MemoryError, "[%s] there is no memory for the intermediate results of a thread", name);
    throw py::error_already_set();
}

// Turns DivergenceError into the Python class `type` for the functions of this module.
inline void translate_divergence_error(py::handle type) {
    static py::handle divergence_error;
    divergence_error = type;
    py::register_local_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer) std::rethrow_exception(pointer);
        } catch (const DivergenceError& error) {
            py::object value = divergence_error(error.text);
            value.attr("step") = error.step;
            PyErr_SetObject(divergence_error.ptr(), value.ptr());
        }
    });
}

}  // namespace steepest
