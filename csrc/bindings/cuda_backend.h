// The CUDA backend of the bindings: operations on arrays of the current device, which are enqueued on the current
// stream, or which a captured graph records.
//
// `Arrays` is CupyArrays, or in tests a class for arrays in host memory and kernels that run there.
#pragma once

#include "bindings/graph_module.h"
#include "cuda/graph.h"

namespace steepest {

template <class Arrays>
struct CudaBackend : Arrays, Recorder<Graph> {
    static constexpr bool kOnGpu = true;
    using typename Recorder<Graph>::Graph;
    using Recorder<Graph>::record;

    template <class Op>
    static void submit(Op op, const CallArguments& arguments) {
        if (record(op, arguments)) return;
        Stream stream = current_stream();
        raise_failure(stream);
        launch(op, stream);
        if constexpr (Arrays::kWaits) {
            STEEPEST_CUDA_CHECK(cudaStreamSynchronize(stream.handle));
            raise_failure(stream);
        }
    }

    // Waits for the current stream, and raises the failure of an earlier operation, if any.
    static void synchronize() {
        const Stream stream = current_stream();
        const cudaError_t error = without_interpreter_lock([&] { return cudaStreamSynchronize(stream.handle); });
        check(error, "cudaStreamSynchronize");
        raise_failure(stream);
    }

    static ops::ReplayResult replay(Graph& graph, int64_t n) {
        const Device& device = use_device(Arrays::current_device());
        const cudaStream_t stream = Arrays::current_stream();
        const Interrupted interrupted = interrupted_by_signals();
        return without_interpreter_lock([&] { return graph.replay(n, device, stream, interrupted); });
    }

    static std::vector<ops::OperationProfile> profile(Graph& graph, int64_t n, ops::ReplayResult& result) {
        const Device& device = use_device(Arrays::current_device());
        const cudaStream_t stream = Arrays::current_stream();
        const Interrupted interrupted = interrupted_by_signals();
        return without_interpreter_lock([&] { return graph.profile(n, device, stream, interrupted, result); });
    }

    static int64_t launches(Graph& graph) {
        const Device& device = use_device(Arrays::current_device());
        return without_interpreter_lock([&] { return graph.launches(device); });
    }

  private:
    static Stream current_stream() {
        const Device& device = use_device(Arrays::current_device());
        const cudaStream_t handle = Arrays::current_stream();
        return {handle, device, state_of(handle, device)};
    }

    static void raise_failure(const Stream& stream) {
        if (!stream.state.has_failed()) return;
        const Failure failure = stream.state.take_failure(stream.handle);
        raise(failure, failure.step);
    }
};

}  // namespace steepest
