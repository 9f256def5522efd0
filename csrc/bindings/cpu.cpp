// The module steepest._cpu.
#include <cstdlib>

#include "bindings/capture.h"
#include "bindings/cpu_backend.h"
#include "bindings/module.h"
#include "cpu/bfloat16.h"
#include "cpu/processors.h"

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
    d["bfloat16"] = selected_bfloat16_unit();
    d["bfloat16_available"] = available_bfloat16_units();
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

void checked_set_num_threads(const py::object& given) {
    const Call<CpuBackend> call("set_num_threads");
    const int64_t n = call.integer("n", given);
    ops::require(n >= 1 && n <= kMaxThreads, call.name(), "n is ", n, "; it must be in 1..", kMaxThreads);
    set_num_threads(static_cast<int>(n));
}

// How a @ b would be computed.
py::dict explain_product(const py::object& left, const py::object& right, const py::object& precision_name) {
    Call<CpuBackend> call("explain");
    const Precision precision = call.entry("precision", precision_name, kPrecisions).kind;
    const Array a = call.floats("left", left, 2), b = call.floats("right", right, 2);
    const auto explained = [&]<class T>(Explain<T> explain) {
        const ops::MatMul<T> op{
            a.matrix<const T>(), b.matrix<const T>(), {nullptr, a.shape[0], b.shape[1], b.shape[1]}};
        ops::require(a.shape[1] == b.shape[0], call.name(), "left has shape ", a.shape_text(), " and right has shape ",
                     b.shape_text(), ": the columns of left must be the rows of right");
        return explain(op.a, op.b, precision,
                       CpuBackend::threads_for(op, estimated_seconds(op.flops(), ops::bytes_of(op))));
    };
    const KernelTable& table = *active_isa().kernels;
    const auto [plan, packing] = call.dtype() == DType::kFloat32 ? explained.operator()<float>(table.explain_float)
                                                                 : explained.operator()<double>(table.explain_double);
    static constexpr const char* kForms[] = {"tiles", "stream", "dots"};
    py::dict d;
    d["form"] = kForms[static_cast<int>(plan.form)];
    d["parts"] = plan.parts;
    d["turned"] = plan.turned;
    d["tile"] = py::make_tuple(plan.tile_rows, plan.tile_cols);
    d["packs_left"] = packing.a, d["packs_right"] = packing.b, d["prefetches_right"] = packing.fetches_b;
    d["blocks"] = plan.blocks;
    d["threads_by_rows"] = plan.down, d["threads_by_columns"] = plan.across, d["threads_by_blocks"] = plan.deep;
    return d;
}

}  // namespace
}  // namespace steepest

// threadpoolctl finds and controls the library by these symbols.
extern "C" {
__attribute__((visibility("default"))) int steepest_get_num_threads() { return steepest::get_num_threads(); }
__attribute__((visibility("default"))) void steepest_set_num_threads(int n) { steepest::set_num_threads(n); }
}

// pybind11's initialisation of the module, under another name.
#define PyInit__cpu steepest_initialise_cpu
PYBIND11_MODULE(_cpu, m) {
    using namespace steepest;
    m.doc() = "The CPU kernels of steepest.";
    try {
        select_isa(std::getenv("STEEPEST_ISA"));
        const bool is_best = active_isa().kernels == available_isas().back().kernels;
        select_bfloat16_unit(std::getenv("STEEPEST_BFLOAT16"), is_best);
    } catch (const std::invalid_argument& error) {
        throw py::import_error(error.what());
    }

    translate_divergence_error(
        py::exception<DivergenceError>(m, "DivergenceError", PyExc_FloatingPointError).release());
    export_operations<CpuBackend>(m);
    export_graph<CpuBackend>(m);
    export_capture(m);

    m.def("info", &info);
    m.def("explain_product", &explain_product, py::arg("left"), py::arg("right"), py::arg("precision"));
    m.def("get_num_threads", &get_num_threads);
    m.def("processors_of_quota", &processors_of_quota, py::arg("cgroups"), py::arg("mount"));
    m.def("current_processor", &current_processor);
    m.def("leave_processor", &leave_processor, py::arg("occupied"));
    m.def("set_num_threads", &checked_set_num_threads, py::arg("n"));
}
#undef PyInit__cpu

// In a subinterpreter, pybind11 would wait forever for the lock of the main one.
// NOLINTNEXTLINE(bugprone-reserved-identifier, readability-identifier-naming): the name that Python looks for
extern "C" PYBIND11_EXPORT PyObject* PyInit__cpu() {
    if (PyInterpreterState_Get() == PyInterpreterState_Main()) return steepest_initialise_cpu();
    PyErr_SetString(
        PyExc_ImportError,
        "steepest works in the main interpreter only, and this is a subinterpreter; use a process of its own "
        "(in mod_wsgi: WSGIApplicationGroup %{GLOBAL})");
    return nullptr;
}
