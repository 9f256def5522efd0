#include "cuda/graph.h"

#include <chrono>

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

using Clock = std::chrono::steady_clock;

// The duration of a batch of steps. Two batches are in flight, so that the device never waits for the host. An
// interrupt is answered when they have ended.
constexpr auto kBatch = std::chrono::milliseconds(20);

struct StreamDeleter {
    void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
};
using OwnStream = std::unique_ptr<std::remove_pointer_t<cudaStream_t>, StreamDeleter>;

OwnStream new_stream() {
    cudaStream_t stream = nullptr;
    STEEPEST_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return OwnStream(stream);
}

class Event {
  public:
    explicit Event(unsigned flags = cudaEventDefault) { STEEPEST_CUDA_CHECK(cudaEventCreateWithFlags(&event_, flags)); }
    ~Event() { cudaEventDestroy(event_); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    void record(cudaStream_t stream) { STEEPEST_CUDA_CHECK(cudaEventRecord(event_, stream)); }
    void wait() const { STEEPEST_CUDA_CHECK(cudaEventSynchronize(event_)); }
    double seconds_since(const Event& earlier) const {
        float milliseconds = 0;
        STEEPEST_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, earlier.event_, event_));
        return 1e-3 * milliseconds;
    }

  private:
    cudaEvent_t event_ = nullptr;
};

}  // namespace

Graph::~Graph() { release(); }

void Graph::release() {
    if (executable_) cudaGraphExecDestroy(executable_);
    executable_ = nullptr;
}

void Graph::add(Recorded operation) {
    release();
    operations_.push_back(std::move(operation));
}

std::vector<const char*> Graph::names() const {
    std::vector<const char*> names;
    for (const Recorded& operation : operations_) names.push_back(operation.name);
    return names;
}

void Graph::instantiate(const Device& device) {
    if (executable_ && device_ == &device) return;
    release();
    device_ = &device;
    state_ = std::make_unique<StreamState>();
    const OwnStream own = new_stream();
    Stream stream{own.get(), device, *state_};
    cudaGraph_t graph = nullptr;
    // Relaxed mode, because an operation may allocate its workspace during the capture.
    STEEPEST_CUDA_CHECK(cudaStreamBeginCapture(own.get(), cudaStreamCaptureModeRelaxed));
    try {
        for (const auto& launch : fuse(operations_, device)) launch(stream);
        launches_ = state_->launches;
    } catch (...) {
        cudaStreamEndCapture(own.get(), &graph);
        if (graph) cudaGraphDestroy(graph);
        throw;
    }
    STEEPEST_CUDA_CHECK(cudaStreamEndCapture(own.get(), &graph));
    const cudaError_t error = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    check(error, "cudaGraphInstantiate");
}

int64_t Graph::launches(const Device& device) {
    const std::lock_guard lock(mutex_);
    instantiate(device);
    return launches_;
}

ops::ReplayResult Graph::replay(int64_t n, const Device& device, cudaStream_t stream, bool (*interrupted)()) {
    ops::ReplayResult result;
    if (n == 0 || operations_.empty()) return result;
    const std::lock_guard lock(mutex_);
    instantiate(device);
    state_->reset(stream);
    Event ends[2] = {Event(cudaEventDisableTiming), Event(cudaEventDisableTiming)};
    int64_t batch = 1, launched = 0;
    auto began = Clock::now();
    for (int turn = 0; launched < n && !state_->has_failed(); turn ^= 1) {
        if (launched > 0) {
            ends[turn].wait();  // wait for the batch before the last
            const auto now = Clock::now();
            if (now - began < kBatch / 2) batch *= 2;
            if (now - began > kBatch * 2 && batch > 1) batch /= 2;
            began = now;
            if (interrupted && interrupted()) {
                result.interrupted = true;
                break;
            }
        }
        for (const int64_t end = batch < n - launched ? launched + batch : n; launched < end; ++launched)
            STEEPEST_CUDA_CHECK(cudaGraphLaunch(executable_, stream));
        ends[turn].record(stream);
    }
    STEEPEST_CUDA_CHECK(cudaStreamSynchronize(stream));
    result.steps = launched;
    if (state_->has_failed()) {
        result.failure = state_->take_failure(stream);
        result.steps = result.failure.step;
    }
    return result;
}

std::vector<ops::OperationProfile> Graph::profile(int64_t n, const Device& device, cudaStream_t handle,
                                                  bool (*interrupted)(), ops::ReplayResult& result) {
    const std::lock_guard lock(mutex_);
    std::vector<ops::OperationProfile> profiles;
    for (const Recorded& o : operations_) profiles.push_back({o.name, 0, o.flops, o.bytes});
    instantiate(device);
    Stream stream{handle, device, *state_};
    state_->reset(handle);
    std::vector<Event> marks(operations_.size() + 1);
    auto polled = Clock::now();
    for (int64_t s = 0; s < n && !state_->has_failed() && !result.interrupted; ++s) {
        marks[0].record(handle);
        for (size_t i = 0; i < operations_.size(); ++i) {
            operations_[i].launch(stream);
            marks[i + 1].record(handle);
        }
        marks.back().wait();
        for (size_t i = 0; i < operations_.size(); ++i)
            profiles[i].seconds += marks[i + 1].seconds_since(marks[i]) / static_cast<double>(n);
        result.steps = s + 1;
        if (interrupted && Clock::now() - polled > kBatch) {
            polled = Clock::now();
            result.interrupted = interrupted();
        }
    }
    if (state_->has_failed()) result.failure = state_->take_failure(handle);
    return profiles;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
