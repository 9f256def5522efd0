// What the bindings ask of the Python interpreter: its lock and its signals.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

namespace steepest {

namespace py = pybind11;

// When Python ends, it ends other threads where they ask for the lock again: up to Python 3.13 by unwinding their stack,
// whose destructors give up references without the lock, or are noexcept and end the process. A thread that meets this
// waits here for the process to end, as it does in Python 3.14.
inline void take_interpreter_lock(PyThreadState* state) {
    try {
        PyEval_RestoreThread(state);
    } catch (...) {
        for (;;) pause();
    }
}

// Returns f(), which runs without the interpreter lock.
template <class F>
auto without_interpreter_lock(F&& f) {
    PyThreadState* const state = PyEval_SaveThread();
    try {
        auto result = f();
        take_interpreter_lock(state);
        return result;
    } catch (...) {
        take_interpreter_lock(state);
        throw;
    }
}

// Runs the handlers of the signals that have arrived, and returns whether one of them raised: Ctrl-C does. It is called
// without the interpreter lock.
inline bool signal_raises() {
    const PyGILState_STATE state = PyGILState_Ensure();
    const bool raises = PyErr_CheckSignals() != 0;
    PyGILState_Release(state);
    return raises;
}

// Asked a few times a second by long work whether to stop.
using Interrupted = bool (*)();

// signal_raises, or null where no handler runs: Python runs them on the main thread alone.
inline Interrupted interrupted_by_signals() {
    const py::object main = py::module_::import("threading").attr("main_thread")();
    return py::cast<unsigned long>(main.attr("ident")) == PyThread_get_thread_ident() ? signal_raises : nullptr;
}

}  // namespace steepest
