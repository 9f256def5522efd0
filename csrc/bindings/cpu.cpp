// The module steepest._cpu.
#include <cstdlib>

#include "bindings/module.h"
#include "bindings/numpy_backend.h"

namespace steepest {
namespace {

bool signal_pending() {
    py::gil_scoped_acquire acquired;
    return PyErr_CheckSignals() != 0;
}

int64_t replay(const CapturedGraph& captured, int64_t n) {
    ops::require(n >= 0, "replay", "n is ", n, "; it must not be negative");
    ops::require(!capturing, "replay", "a graph cannot be replayed while another is captured");
    ReplayResult result;
    {
        py::gil_scoped_release released;
        result = captured.graph.replay(n, signal_pending);
    }
    if (result.interrupted) throw py::error_already_set();
    if (result.failure.kind != Failure::kNone) raise(result.failure, result.steps);
    return result.steps;
}

py::list profile(const CapturedGraph& captured, int64_t n) {
    ops::require(n >= 1, "profile", "n is ", n, "; at least one step is needed");
    ReplayResult result;
    std::vector<OperationProfile> profiles;
    {
        py::gil_scoped_release released;
        profiles = captured.graph.profile(n, result);
    }
    if (result.failure.kind != Failure::kNone) raise(result.failure, result.steps);
    py::list rows;
    for (const OperationProfile& p : profiles) rows.append(py::make_tuple(p.name, p.seconds, p.flops, p.bytes));
    return rows;
}

void begin_capture(CapturedGraph& captured) {
    ops::require(!capturing, "capture", "another graph is being captured on this thread");
    capturing = &captured;
}

void end_capture() { capturing = nullptr; }

bool is_capturing() { return capturing != nullptr; }

py::list names(const std::vector<Isa>& isas) {
    py::list list;
    for (const Isa& isa : isas) list.append(isa.name);
    return list;
}

py::dict info() {
    py::dict d;
    d["isa"] = active_isa().name;
    d["isas_available"] = names(available_isas());
    d["isas_built"] = names(built_isas());
    d["num_threads"] = get_num_threads();
    d["cores"] = available_processors();
    const auto cache = [&](const char* key, int name) {
        const long bytes = sysconf(name);
        d[key] = bytes > 0 ? bytes : 0;
    };
    cache("l1d", _SC_LEVEL1_DCACHE_SIZE), cache("l2", _SC_LEVEL2_CACHE_SIZE), cache("l3", _SC_LEVEL3_CACHE_SIZE);
    d["compiler"] = STEEPEST_COMPILER;
    return d;
}

void checked_set_num_threads(int64_t n) {
    ops::require(n >= 1 && n <= kMaxThreads, "set_num_threads", "n is ", n, "; it must be in 1..", kMaxThreads);
    set_num_threads(static_cast<int>(n));
}

}  // namespace
}  // namespace steepest

// For threadpoolctl, which finds libraries by these symbols.
extern "C" {
__attribute__((visibility("default"))) int steepest_get_num_threads() { return steepest::get_num_threads(); }
__attribute__((visibility("default"))) void steepest_set_num_threads(int n) { steepest::set_num_threads(n); }
}

PYBIND11_MODULE(_cpu, m) {
    using namespace steepest;
    m.doc() = "The CPU kernels of steepest.";
    try {
        select_isa(std::getenv("STEEPEST_ISA"));
    } catch (const std::invalid_argument& error) {
        throw py::import_error(error.what());
    }

    static py::handle divergence_error =
        py::exception<DivergenceError>(m, "DivergenceError", PyExc_FloatingPointError).release();
    py::register_exception_translator([](std::exception_ptr pointer) {
        try {
            if (pointer) std::rethrow_exception(pointer);
        } catch (const DivergenceError& error) {
            py::object value = divergence_error(error.text);
            value.attr("step") = error.step;
            PyErr_SetObject(divergence_error.ptr(), value.ptr());
        }
    });

    export_operations<NumpyBackend>(m);

    py::class_<CapturedGraph>(m, "Graph")
        .def(py::init<>())
        .def("replay", &replay, py::arg("n") = 1)
        .def("profile", &profile, py::arg("n"))
        .def("operations", [](const CapturedGraph& g) { return g.graph.names(); })
        .def("__len__", [](const CapturedGraph& g) { return g.graph.size(); });
    m.def("begin_capture", &begin_capture, py::arg("graph"));
    m.def("end_capture", &end_capture);
    m.def("is_capturing", &is_capturing);
    m.def("info", &info);
    m.def("get_num_threads", &get_num_threads);
    m.def("set_num_threads", &checked_set_num_threads, py::arg("n"));
}
