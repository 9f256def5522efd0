// Capture and replay in Python, for either backend.
//
// Beside what call.h asks of it, a `Backend` offers
//     Backend::Graph, Backend::capturing          by Recorder; a graph has add(op), size() and names()
//     Backend::replay(graph, n, interrupted)      -> ops::ReplayResult, with the interpreter lock released
//     Backend::profile(graph, n, result)          -> std::vector<ops::OperationProfile>, likewise
//     Backend::launches(graph)                    where a step is fewer launches than operations: their number
#pragma once

#include "bindings/failures.h"
#include "ops/contract.h"
#include "ops/profile.h"

namespace steepest {

// A graph with the arrays that it uses.
template <class Graph>
struct CapturedGraph {
    Graph graph;
    std::vector<py::object> arrays;
};

// What a backend records into while a step is captured. That is the work of one Python thread; others go on running
// eagerly.
template <class G>
struct Recorder {
    using Graph = G;
    inline static thread_local CapturedGraph<Graph>* capturing = nullptr;

    // Whether the operation was recorded, and is not to be run.
    template <class Op>
    static bool record(Op& op, const std::vector<py::object>& arguments) {
        if (!capturing) return false;
        capturing->graph.add(std::move(op));
        capturing->arrays.insert(capturing->arrays.end(), arguments.begin(), arguments.end());
        return true;
    }
};

inline bool signal_pending() {
    py::gil_scoped_acquire acquired;
    return PyErr_CheckSignals() != 0;
}

template <class B>
int64_t replay(CapturedGraph<typename B::Graph>& captured, int64_t n) {
    ops::require(n >= 0, "replay", "n is ", n, "; it must not be negative");
    ops::require(!B::capturing, "replay", "a graph cannot be replayed while another is captured");
    const ops::ReplayResult result = B::replay(captured.graph, n, signal_pending);
    if (result.interrupted) throw py::error_already_set();
    if (result.failure.kind != Failure::kNone) raise(result.failure, result.steps);
    return result.steps;
}

template <class B>
py::list profile(CapturedGraph<typename B::Graph>& captured, int64_t n) {
    ops::require(n >= 1, "profile", "n is ", n, "; at least one step is needed");
    ops::ReplayResult result;
    const std::vector<ops::OperationProfile> profiles = B::profile(captured.graph, n, result);
    if (result.failure.kind != Failure::kNone) raise(result.failure, result.steps);
    py::list rows;
    for (const ops::OperationProfile& p : profiles) rows.append(py::make_tuple(p.name, p.seconds, p.flops, p.bytes));
    return rows;
}

template <class B>
void export_graph(py::module_& m) {
    using Captured = CapturedGraph<typename B::Graph>;
    py::class_<Captured> graph(m, "Graph", py::module_local());
    graph.def(py::init<>())
        .def("replay", &replay<B>, py::arg("n") = 1)
        .def("profile", &profile<B>, py::arg("n"))
        .def("operations", [](const Captured& g) { return g.graph.names(); })
        .def("__len__", [](const Captured& g) { return g.graph.size(); });
    if constexpr (requires(Captured& g) { B::launches(g.graph); })
        graph.def("launches", [](Captured& g) { return B::launches(g.graph); });
    m.def(
        "begin_capture",
        [](Captured& captured) {
            ops::require(!B::capturing, "capture", "another graph is being captured on this thread");
            B::capturing = &captured;
        },
        py::arg("graph"));
    m.def("end_capture", [] { B::capturing = nullptr; });
    m.def("is_capturing", [] { return B::capturing != nullptr; });
}

}  // namespace steepest
