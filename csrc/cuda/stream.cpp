#include "cuda/stream.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <tuple>

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

// Byte offsets of step and tickets; stopped, step and tickets share one allocation.
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

// A number that no other stream of the process has or had. A handle is not enough: a new stream may get the handle of a
// destroyed one, and a new thread the id of one that has ended.
unsigned long long number_of(cudaStream_t handle) {
    static std::atomic<unsigned long long> threads = 0;
    thread_local const unsigned long long of_this_thread = ++threads;
    if (handle == cudaStreamPerThread) return of_this_thread;
    unsigned long long number = 0;
    STEEPEST_CUDA_CHECK(cudaStreamGetId(handle, &number));
    return number;
}

}  // namespace

StreamState::StreamState() {
    const size_t bytes = kTicketsOffset + kTickets * sizeof(unsigned);
    char* const memory = static_cast<char*>(allocate(bytes));
    STEEPEST_CUDA_CHECK(cudaMemset(memory, 0, bytes));
    STEEPEST_CUDA_CHECK(cudaStreamSynchronize(nullptr));  // most streams do not wait for the default stream
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

// At the end of the process the driver may already be gone, and has then freed all memory.
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
    struct Known {
        unsigned long long stream = 0;
        std::unique_ptr<StreamState> state;
    };
    static std::mutex mutex;
    // Never destroyed: at the end of the process the driver may be gone before static objects are.
    using Key = std::tuple<int, cudaStream_t, std::thread::id>;
    static auto& streams = *new std::map<Key, Known>();
    // Two handles name the legacy default stream, and one handle names the default streams of all threads.
    if (handle == cudaStreamLegacy) handle = nullptr;
    const std::thread::id thread = handle == cudaStreamPerThread ? std::this_thread::get_id() : std::thread::id();
    const unsigned long long stream = number_of(handle);
    const std::lock_guard lock(mutex);
    Known& known = streams[{device.id, handle, thread}];
    if (!known.state || known.stream != stream) known = {stream, std::make_unique<StreamState>()};
    return *known.state;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
