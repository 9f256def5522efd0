// The stream that an operation's kernels are launched on, and the state that the kernels of one stream share.
#pragma once

#include <vector>

#include "cuda/device.h"
#include "cuda/guard.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// The number of counters with which the last block of a grid finds out that it is the last; a kernel leaves them at
// zero.
constexpr int kTickets = 4096;

// The failure record, scratch memory and tickets of a stream or of a graph. Kernels that share them run one after
// another.
class StreamState {
  public:
    StreamState();
    ~StreamState();
    StreamState(const StreamState&) = delete;
    StreamState& operator=(const StreamState&) = delete;

    Guard guard() const { return {stopped_, report_on_device_, step_}; }
    unsigned* tickets() const { return tickets_; }

    int64_t launches = 0;  // number of launches so far

    // Device memory for one operation's intermediate results, which the next operation overwrites.
    void* workspace(size_t bytes);

    // Whether a kernel that has ended reported a failure.
    bool has_failed() const { return static_cast<volatile Failure*>(report_)->kind != Failure::kNone; }
    // Returns the failure and clears it; kernels that are launched on `stream` from now on run again.
    Failure take_failure(cudaStream_t stream);
    // Prepares a replay: no failure, step 0.
    void reset(cudaStream_t stream);

  private:
    int* stopped_ = nullptr;
    int64_t* step_ = nullptr;
    unsigned* tickets_ = nullptr;
    Failure* report_ = nullptr;            // address on the host
    Failure* report_on_device_ = nullptr;  // address on the device
    // A larger chunk is added if the last is too small: kernels in flight may still use the last.
    std::vector<void*> chunks_;
    size_t chunk_bytes_ = 0;
};

struct Stream {
    cudaStream_t handle;
    const Device& device;
    StreamState& state;

    Guard guard() const { return state.guard(); }
};

// The state of a stream of the current device, created on first use.
StreamState& state_of(cudaStream_t handle, const Device& device);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
