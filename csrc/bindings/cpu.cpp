// The module steepest._cpu.
#include <cstdlib>

#include "bindings/cpu_backend.h"
#include "bindings/module.h"

namespace steepest {
namespace {

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

    translate_divergence_error(
        py::exception<DivergenceError>(m, "DivergenceError", PyExc_FloatingPointError).release());
    export_operations<CpuBackend>(m);
    export_graph<CpuBackend>(m);

    m.def("info", &info);
    m.def("get_num_threads", &get_num_threads);
    m.def("set_num_threads", &checked_set_num_threads, py::arg("n"));
}
