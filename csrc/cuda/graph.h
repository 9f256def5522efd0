// A graph: the operations of a step, recorded once and replayed as a CUDA graph.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "cuda/fusion.h"
#include "cuda/run.h"
#include "ops/profile.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

class Graph {
  public:
    Graph() = default;
    ~Graph();
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;

    template <class Op>
    void add(Op op) {
        Recorded recorded{{},
                          [op](Stream& stream) { launch(op, stream); },
                          ops::accesses_of(op),
                          ops::kMayFail<Op>,
                          ops::name_of(op),
                          op.flops(),
                          ops::bytes_of(op)};
        recorded.op = std::move(op);
        add(std::move(recorded));
    }

    size_t size() const { return operations_.size(); }
    std::vector<const char*> names() const;

    // Each of these functions waits for calls of other threads, so the caller must not hold the interpreter lock.

    // The number of launches of a step, after the operations have been fused.
    int64_t launches(const Device& device);

    // Runs all operations n times after the work that is on `stream` of the device, and waits. Calls `interrupted` a
    // few times a second; if it returns true, the replay stops.
    ops::ReplayResult replay(int64_t n, const Device& device, cudaStream_t stream, bool (*interrupted)());

    // Runs n times, operation by operation as recorded, and times each. Calls `interrupted` after each step.
    std::vector<ops::OperationProfile> profile(int64_t n, const Device& device, cudaStream_t stream,
                                               bool (*interrupted)(), ops::ReplayResult& result);

  private:
    void add(Recorded operation);
    // Makes the CUDA graph.
    void instantiate(const Device& device);
    void release();

    std::mutex mutex_;  // held by a replay: the state counts its steps, and holds its failure
    std::vector<Recorded> operations_;
    std::unique_ptr<StreamState> state_;
    const Device* device_ = nullptr;
    cudaGraphExec_t executable_ = nullptr;
    int64_t launches_ = 0;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
