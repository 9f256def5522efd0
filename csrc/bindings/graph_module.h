// Capture and replay in Python, for either backend.
//
// In addition to the functions of call.h, a `Backend` offers
//     Backend::is_writeable(array)                 whether an array that it borrowed may be written
//     Backend::Graph, Backend::recording()        by Recorder; a graph has add(op), size() and names()
//     Backend::replay(graph, n)                   -> ops::ReplayResult, with the interpreter lock released
//     Backend::profile(graph, n, result)          -> std::vector<ops::OperationProfile>, likewise
//     Backend::launches(graph)                    optional: the number of launches of a step, if operations are fused
#pragma once

#include <memory>

#include "bindings/failures.h"
#include "bindings/interpreter.h"
#include "ops/contract.h"
#include "ops/profile.h"

namespace steepest {

// The arrays of a call, and those among them that it writes.
struct CallArguments {
    std::vector<py::object> all, written;
};

// A graph with the arrays that it uses.
template <class Graph>
struct CapturedGraph {
    Graph graph;
    CallArguments arrays;
    bool is_open = false;  // whether a step is being captured into it
};

// The graph that a backend records into while a step is captured. Only one Python thread records; other threads go on
// running operations eagerly. Any thread may end it: another thread may close a generator that captures.
template <class G>
class Recorder {
  public:
    using Graph = G;
    using Captured = std::shared_ptr<CapturedGraph<Graph>>;

    // The graph that this thread records into, or null.
    static Captured recording() {
        Captured captured = begun.lock();
        if (captured && !captured->is_open) begun.reset(), captured.reset();
        return captured;
    }

    static void begin(const Captured& captured) {
        ops::require(!recording(), "capture", "another graph is being captured on this thread");
        captured->is_open = true;
        begun = captured;
    }

    static void end(const Captured& captured) { captured->is_open = false; }

    // Records the operation if a capture is open, and returns whether it did; then the operation is not run.
    template <class Op>
    static bool record(Op& op, const CallArguments& arguments) {
        const Captured captured = recording();
        if (!captured) return false;
        captured->graph.add(std::move(op));
        const auto keep = [](std::vector<py::object>& to, const std::vector<py::object>& from) {
            to.insert(to.end(), from.begin(), from.end());
        };
        keep(captured->arrays.all, arguments.all), keep(captured->arrays.written, arguments.written);
        return true;
    }

  private:
    // A weak pointer, because a thread that ends must not free Python objects. If nobody else holds the graph, nothing
    // is recorded any more.
    inline static thread_local std::weak_ptr<CapturedGraph<Graph>> begun;
};

// Arrays may have been made read-only since the capture.
template <class B>
void require_writeable(const CapturedGraph<typename B::Graph>& captured, const char* name) {
    for (const py::object& array : captured.arrays.written)
        ops::require(B::is_writeable(array), name, "an array that the graph writes has been made read-only");
}

template <class B>
int64_t replay(CapturedGraph<typename B::Graph>& captured, int64_t n) {
    ops::require(n >= 0, "replay", "n is ", n, "; it must not be negative");
    ops::require(!B::recording(), "replay", "a graph cannot be replayed while another is captured");
    require_writeable<B>(captured, "replay");
    const ops::ReplayResult result = B::replay(captured.graph, n);
    if (result.interrupted) throw py::error_already_set();
    if (result.failure.kind != Failure::kNone) raise(result.failure, result.steps);
    return result.steps;
}

template <class B>
py::list profile(CapturedGraph<typename B::Graph>& captured, int64_t n) {
    ops::require(n >= 1, "profile", "n is ", n, "; at least one step is needed");
    require_writeable<B>(captured, "profile");
    ops::ReplayResult result;
    const std::vector<ops::OperationProfile> profiles = B::profile(captured.graph, n, result);
    if (result.interrupted) throw py::error_already_set();
    if (result.failure.kind != Failure::kNone) raise(result.failure, result.steps);
    py::list rows;
    for (const ops::OperationProfile& p : profiles) rows.append(py::make_tuple(p.name, p.seconds, p.flops, p.bytes));
    return rows;
}

template <class B>
void export_graph(py::module_& m) {
    using Captured = CapturedGraph<typename B::Graph>;
    py::class_<Captured, std::shared_ptr<Captured>> graph(m, "Graph", py::module_local());
    graph.def(py::init<>())
        .def("replay", &replay<B>, py::arg("n") = 1)
        .def("profile", &profile<B>, py::arg("n"))
        .def("operations", [](const Captured& g) { return g.graph.names(); })
        .def("__len__", [](const Captured& g) { return g.graph.size(); });
    if constexpr (requires(Captured& g) { B::launches(g.graph); })
        graph.def("launches", [](Captured& g) { return B::launches(g.graph); });
    m.def("begin_capture", &B::begin, py::arg("graph"));
    m.def("end_capture", &B::end, py::arg("graph"));
    m.def("is_capturing", [] { return B::recording() != nullptr; });
}

}  // namespace steepest
