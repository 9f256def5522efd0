// The CPU backend of the bindings: NumPy arrays, run by a team or recorded into the graph that is being captured.
#pragma once

#include "bindings/graph_module.h"
#include "bindings/numpy_arrays.h"
#include "cpu/graph.h"

namespace steepest {

struct CpuBackend : NumpyArrays, Recorder<Graph> {
    static constexpr bool kOnGpu = false;

    template <class Op>
    static void submit(Op op, const std::vector<py::object>& arguments) {
        if (record(op, arguments)) return;
        const Kernel<Op> kernel = kernel_of<Op>(*active_isa().kernels);
        auto body = [&](Team& team) { kernel(op, team); };
        Failure failure;
        const double seconds = estimated_seconds(op.flops(), ops::bytes_of(op));
        if (seconds < kWorthReleasing) {
            failure = run_team(1, body);
        } else {
            py::gil_scoped_release released;
            failure = run_team(seconds < kWorthATeam ? 1 : ops::members_of(op, get_num_threads()), body);
        }
        if (failure.kind != Failure::kNone) raise(failure, 0);
    }

    static ops::ReplayResult replay(const Graph& graph, int64_t n, bool (*interrupted)()) {
        py::gil_scoped_release released;
        return graph.replay(n, interrupted);
    }

    static std::vector<ops::OperationProfile> profile(const Graph& graph, int64_t n, ops::ReplayResult& result) {
        py::gil_scoped_release released;
        return graph.profile(n, result);
    }

  private:
    // Letting the interpreter lock go costs a fraction of a microsecond, waking a team several.
    static constexpr double kWorthReleasing = 5e-6, kWorthATeam = 20e-6;
};

}  // namespace steepest
