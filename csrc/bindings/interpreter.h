// The lock and the signals of the Python interpreter.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

namespace steepest {

namespace py = pybind11;

// When Python exits, it ends other threads where they request the lock again. Up to Python 3.13 it unwinds their stack:
// destructors then release references without the lock, or are noexcept and end the process. Such a thread waits here
// for the process to end, as it does in Python 3.14.
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

// Runs the handlers of signals that have arrived, and returns whether one of them raised an exception, as Ctrl-C does.
// Call it without the interpreter lock.
inline bool signal_raises() {
    const PyGILState_STATE state = PyGILState_Ensure();
    const bool raises = PyErr_CheckSignals() != 0;
    PyGILState_Release(state);
    return raises;
}

// A function that long work calls a few times a second; true means that the work must stop.
using Interrupted = bool (*)();

// signal_raises on the main thread, or null on other threads: Python runs signal handlers on the main thread alone.
inline Interrupted interrupted_by_signals() {
    const py::object main = py::module_::import("threading").attr("main_thread")();
    return py::cast<unsigned long>(main.attr("ident")) == PyThread_get_thread_ident() ? signal_raises : nullptr;
}

}  // namespace steepest
