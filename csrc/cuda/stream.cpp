#include "cuda/stream.h"

#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <tuple>

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// stopped, step and tickets lie in one allocation.
constexpr size_t kStepOffset = 64, kTicketsOffset = 128;

void* allocate(size_t bytes) {
    void* memory = nullptr;
    const cudaError_t error = cudaMalloc(&memory, bytes);
    if (error == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        size_t free = 0, total = 0;
        cudaMemGetInfo(&free, &total);
        throw OutOfDeviceMemory("[cuda] the device has no memory for " + std::to_string(bytes >> 20) +
                                " MiB of intermediate results: " + std::to_string(free >> 20) + " of " +
                                std::to_string(total >> 20) + " MiB are free");
    }
    check(error, "cudaMalloc");
    return memory;
}

}  // namespace

StreamState::StreamState() {
    const size_t bytes = kTicketsOffset + kTickets * sizeof(unsigned);
    char* const memory = static_cast<char*>(allocate(bytes));
    STEEPEST_CUDA_CHECK(cudaMemset(memory, 0, bytes));
    STEEPEST_CUDA_CHECK(cudaStreamSynchronize(nullptr));  // most streams do not wait for the default one
    stopped_ = reinterpret_cast<int*>(memory);
    step_ = reinterpret_cast<int64_t*>(memory + kStepOffset);
    tickets_ = reinterpret_cast<unsigned*>(memory + kTicketsOffset);
    void* host = nullptr;
    STEEPEST_CUDA_CHECK(cudaHostAlloc(&host, sizeof(Failure), cudaHostAllocMapped));
    report_ = new (host) Failure();
    void* device = nullptr;
    STEEPEST_CUDA_CHECK(cudaHostGetDevicePointer(&device, host, 0));
    report_on_device_ = static_cast<Failure*>(device);
}

// At the end of the process the driver may be gone already, and has freed all then.
StreamState::~StreamState() {
    cudaFree(stopped_);
    cudaFreeHost(report_);
    for (void* chunk : chunks_) cudaFree(chunk);
    cudaGetLastError();
}

void* StreamState::workspace(size_t bytes) {
    if (bytes > chunk_bytes_) {
        const size_t larger = bytes > 2 * chunk_bytes_ ? bytes : 2 * chunk_bytes_;
        chunks_.push_back(allocate(larger));
        chunk_bytes_ = larger;
    }
    return chunks_.empty() ? nullptr : chunks_.back();
}

Failure StreamState::take_failure(cudaStream_t stream) {
    const Failure failure = *report_;
    reset(stream);
    return failure;
}

void StreamState::reset(cudaStream_t stream) {
    STEEPEST_CUDA_CHECK(cudaMemsetAsync(stopped_, 0, sizeof(int), stream));
    STEEPEST_CUDA_CHECK(cudaMemsetAsync(step_, 0, sizeof(int64_t), stream));
    *report_ = Failure();
}

StreamState& state_of(cudaStream_t handle, const Device& device) {
    static std::mutex mutex;
    // Never destroyed: at the end of the process the driver may be gone before static objects are.
    using Key = std::tuple<int, cudaStream_t, std::thread::id>;
    static auto& states = *new std::map<Key, std::unique_ptr<StreamState>>();
    // One handle stands for the default streams of all threads, each of which is a stream of its own.
    const std::thread::id thread = handle == cudaStreamPerThread ? std::this_thread::get_id() : std::thread::id();
    const std::lock_guard lock(mutex);
    auto& state = states[{device.id, handle, thread}];
    if (!state) state = std::make_unique<StreamState>();
    return *state;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
