// The CPU backend of the bindings: operations on NumPy arrays, which a team runs, or which a captured graph records.
#pragma once

#include "bindings/graph_module.h"
#include "bindings/numpy_arrays.h"
#include "cpu/graph.h"

namespace steepest {

// Returns f(), and translates the exceptions of a team to Python exceptions.
template <class F>
auto run_region(const char* name, F&& f) {
    try {
        return f();
    } catch (const RegionInterrupted&) {
        throw py::error_already_set();
    } catch (const std::bad_alloc&) {
        raise_out_of_memory(name);
    }
}

struct CpuBackend : NumpyArrays, Recorder<Graph> {
    static constexpr bool kOnGpu = false;

    template <class Op>
    static void submit(Op op, const CallArguments& arguments) {
        if (record(op, arguments)) return;
        const Kernel<Op> kernel = kernel_of<Op>(*active_isa().kernels);
        auto body = [&](Team& team) { kernel(op, team); };
        const double seconds = estimated_seconds(op.flops(), ops::bytes_of(op));
        const Failure failure = run_region(ops::name_of(op), [&] {
            if (seconds < kWorthReleasing) return run_team(1, body);
            const int threads = threads_for(op, seconds);
            const Interrupted interrupted = interrupted_in(seconds);
            return without_interpreter_lock([&] { return run_team(threads, body, interrupted); });
        });
        if (failure.kind != Failure::kNone) raise(failure, 0);
    }

    // The number of threads of a call that takes so many seconds on one thread.
    template <class Op>
    static int threads_for(const Op& op, double seconds) {
        return seconds < kWorthATeam ? 1 : ops::members_of(op, get_num_threads());
    }

    static ops::ReplayResult replay(const Graph& graph, int64_t n) {
        const Interrupted interrupted = interrupted_in(static_cast<double>(n) * graph.seconds());
        return run_region("replay",
                          [&] { return without_interpreter_lock([&] { return graph.replay(n, interrupted); }); });
    }

    static std::vector<ops::OperationProfile> profile(const Graph& graph, int64_t n, ops::ReplayResult& result) {
        const Interrupted interrupted = interrupted_in(static_cast<double>(n) * graph.seconds());
        return run_region(
            "profile", [&] { return without_interpreter_lock([&] { return graph.profile(n, interrupted, result); }); });
    }

  private:
    static Interrupted interrupted_in(double seconds) { return seconds < kShort ? nullptr : interrupted_by_signals(); }

    // Thresholds of the estimated time, in seconds. Releasing the interpreter lock costs a fraction of a microsecond,
    // and waking a team several microseconds.
    static constexpr double kWorthReleasing = 5e-6, kWorthATeam = 20e-6;
    // Seconds. Shorter work ends within a tenth of a second, even if it takes a hundred times as long as estimated.
    static constexpr double kShort = 1e-3;
};

}  // namespace steepest
