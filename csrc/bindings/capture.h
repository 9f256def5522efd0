// The context manager of `with steepest.capture()`: it begins and ends the recordings of all backends.
//
// Ctrl-C takes effect between two Python instructions. `with` calls the two functions below directly, so there is no
// instruction between the begin of a recording and the block, nor between the block and the end of the recording.
#pragma once

#include <pybind11/pybind11.h>

#include "ops/contract.h"

namespace steepest {

namespace py = pybind11;

class Capture {
  public:
    // `recordings` are pairs of a backend's module and its graph. complete() is called after a block without
    // exceptions.
    Capture(py::object graph, py::list recordings, py::object complete)
        : graph_(std::move(graph)), recordings_(std::move(recordings)), complete_(std::move(complete)) {}

    py::object enter() {
        ops::require(!entered_, "capture", "a capture can be entered only once; call steepest.capture() again");
        entered_ = true;
        try {
            for (; begun_ < recordings_.size(); ++begun_) call("begin_capture");
        } catch (...) {
            end();
            throw;
        }
        return graph_;
    }

    void exit(py::handle type, py::handle, py::handle) {
        end();
        if (type.is_none()) complete_();
    }

  private:
    void end() {
        while (begun_ > 0) --begun_, call("end_capture");
    }

    // Calls a function of the backend with number begun_, with its graph.
    void call(const char* name) const {
        const py::tuple pair = recordings_[begun_];
        pair[0].attr(name)(pair[1]);
    }

    py::object graph_;
    py::list recordings_;
    py::object complete_;
    bool entered_ = false;
    size_t begun_ = 0;  // number of recordings that have begun and not ended
};

inline void export_capture(py::module_& m) {
    py::class_<Capture>(m, "Capture", py::module_local())
        .def(py::init<py::object, py::list, py::object>(), py::arg("graph"), py::arg("recordings"), py::arg("complete"))
        .def("__enter__", &Capture::enter)
        .def("__exit__", &Capture::exit);
}

}  // namespace steepest
