// The host's side of CUDA: small devices in the host's memory, that differ in their multiprocessors alone. A stream keeps its
// work until the host waits for it, so that what a kernel needs must live until then. Environment variables, read at
// every call, change what there is:
//     STANDIN_DEVICES           so many of the devices
//     STANDIN_DRIVER_VERSION    13000, or 0 where there is no driver
//     STANDIN_FREE_MEMORY       bytes that cudaMalloc has to give
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "standin/cuda.h"
#include "standin/memory.h"

namespace {

constexpr int kRuntimeVersion = 13000;

// Few, so that small work fills several waves; an A100's; an H100's; a single one.
constexpr int kMultiprocessors[] = {4, 108, 132, 1};

long long setting(const char* name, long long otherwise) {
    const char* const text = std::getenv(name);
    return text && *text ? std::atoll(text) : otherwise;
}

int devices() { return static_cast<int>(setting("STANDIN_DEVICES", std::size(kMultiprocessors))); }

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t give(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

cudaError_t device_error() {
    if (setting("STANDIN_DRIVER_VERSION", kRuntimeVersion) < kRuntimeVersion) return cudaErrorInsufficientDriver;
    return devices() > 0 ? cudaSuccess : cudaErrorNoDevice;
}

bool exists(int id) { return id >= 0 && id < devices(); }

size_t total_memory() { return static_cast<size_t>(setting("STANDIN_FREE_MEMORY", 1LL << 30)); }

using Work = std::function<void()>;

std::mutex stream_mutex;  // for what the streams hold
std::mutex device_mutex;  // the device does one thing at a time
auto& all_streams = *new std::set<CUstream_st*>;
auto& destroyed_streams = *new std::vector<CUstream_st*>;
unsigned long long streams_so_far = 0;
std::exception_ptr unreported;  // the fault of work that was done where nothing can be thrown

}  // namespace

struct CUstream_st {
    CUstream_st() {
        const std::lock_guard lock(stream_mutex);
        id = ++streams_so_far;
        all_streams.insert(this);
    }
    ~CUstream_st() {
        const std::lock_guard lock(stream_mutex);
        all_streams.erase(this);
    }

    unsigned long long id;
    bool capturing = false;
    std::vector<Work> recorded;
    std::deque<Work> waiting;
};
struct CUgraph_st {
    std::vector<Work> work;
};
struct CUgraphExec_st {
    std::vector<Work> work;
};
struct CUevent_st {
    struct Record {
        CUstream_st* stream = nullptr;
        bool done = true;
        std::chrono::steady_clock::time_point time;
    };
    std::shared_ptr<Record> last = std::make_shared<Record>();  // which the stream may hold longer than the event lives
};

namespace {

// Two handles stand for the legacy stream, and one for the stream of each thread.
CUstream_st& stream_of(cudaStream_t handle) {
    static auto& legacy = *new CUstream_st;
    if (handle == nullptr || handle == cudaStreamLegacy) return legacy;
    if (handle != cudaStreamPerThread) return *handle;
    thread_local CUstream_st of_this_thread;
    return of_this_thread;
}

// Does what waits in the stream, or as much of it as comes before `*done`.
void work_off(CUstream_st& stream, const bool* done = nullptr) {
    const std::lock_guard device(device_mutex);
    const auto take = [&] {
        const std::lock_guard lock(stream_mutex);
        Work work;
        if (stream.waiting.empty() || (done && *done)) return work;
        work = std::move(stream.waiting.front());
        stream.waiting.pop_front();
        return work;
    };
    Work work = take();
    if (!work) return;
    const standin::DeviceWorks works;
    try {
        for (; work; work = take()) work();
    } catch (...) {
        const std::lock_guard lock(stream_mutex);
        stream.waiting.clear();
        throw;
    }
}

void wait(CUstream_st& stream, const bool* done = nullptr) {
    work_off(stream, done);
    const std::lock_guard lock(stream_mutex);
    if (unreported) std::rethrow_exception(std::exchange(unreported, nullptr));
}

// For functions that wait for the device, but are called where nothing may be thrown.
void wait_for_device_quietly() {
    try {
        standin::wait_for_device();
    } catch (...) {
        const std::lock_guard lock(stream_mutex);
        unreported = std::current_exception();
    }
}

}  // namespace

void standin::wait_for_device() {
    std::vector<CUstream_st*> busy;
    {
        const std::lock_guard lock(stream_mutex);
        for (CUstream_st* const stream : all_streams)
            if (!stream->waiting.empty()) busy.push_back(stream);
    }
    for (CUstream_st* const stream : busy) wait(*stream);
}

void standin::submit(cudaStream_t handle, Work work) {
    CUstream_st& stream = stream_of(handle);
    const std::lock_guard lock(stream_mutex);
    if (stream.capturing)
        stream.recorded.push_back(std::move(work));
    else
        stream.waiting.push_back(std::move(work));
}

const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "no error";
        case cudaErrorInvalidValue: return "invalid argument";
        case cudaErrorMemoryAllocation: return "out of memory";
        case cudaErrorInsufficientDriver: return "CUDA driver version is insufficient for CUDA runtime version";
        case cudaErrorNoDevice: return "no CUDA-capable device is detected";
        case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    }
    return "unrecognized error code";
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaDriverGetVersion(int* version) {
    *version = static_cast<int>(setting("STANDIN_DRIVER_VERSION", kRuntimeVersion));
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = kRuntimeVersion;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
    *count = device_error() == cudaSuccess ? devices() : 0;
    return give(device_error());
}

cudaError_t cudaSetDevice(int id) { return give(exists(id) ? device_error() : cudaErrorInvalidValue); }

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name, int id) {
    if (!exists(id)) return give(cudaErrorInvalidValue);
    switch (name) {
        case cudaDevAttrMaxThreadsPerBlock: *value = standin::kMaxThreads; break;
        case cudaDevAttrMultiProcessorCount: *value = kMultiprocessors[id]; break;
        case cudaDevAttrComputeCapabilityMajor: *value = 8; break;
        case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    }
    return give(device_error());
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int id) {
    if (!exists(id)) return give(cudaErrorInvalidValue);
    *properties = {};
    std::snprintf(properties->name, sizeof properties->name, "stand-in for CUDA on the host");
    properties->totalGlobalMem = total_memory();
    properties->major = 8;
    return cudaDeviceGetAttribute(&properties->multiProcessorCount, cudaDevAttrMultiProcessorCount, id);
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    *total = total_memory();
    *free = standin::allocated_bytes() < *total ? *total - standin::allocated_bytes() : 0;
    return give(device_error());
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
    *memory = nullptr;
    if (device_error() != cudaSuccess) return give(device_error());
    if (bytes == 0) return cudaSuccess;
    *memory = standin::allocate(bytes, total_memory());
    return give(*memory ? cudaSuccess : cudaErrorMemoryAllocation);
}

// Waits for the device, as CUDA does.
cudaError_t cudaFree(void* memory) {
    if (!memory) return cudaSuccess;
    wait_for_device_quietly();
    return give(standin::release(memory) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
    void* on_device = nullptr;
    const cudaError_t error = cudaMalloc(&on_device, bytes);
    *memory = on_device ? standin::host_address(on_device) : nullptr;
    return error;
}

cudaError_t cudaFreeHost(void* memory) { return cudaFree(standin::device_address(memory)); }

cudaError_t cudaHostGetDevicePointer(void** on_device, void* on_host, unsigned) {
    *on_device = standin::device_address(on_host);
    return give(*on_device ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
    return cudaMemsetAsync(memory, value, bytes, cudaStreamLegacy);
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
    standin::submit(stream, [=] { std::memset(memory, value, bytes); });
    return cudaSuccess;
}

// A handle is used again: one that was destroyed is the next to be given.
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    void* place = nullptr;
    {
        const std::lock_guard lock(stream_mutex);
        if (!destroyed_streams.empty()) place = destroyed_streams.back(), destroyed_streams.pop_back();
    }
    *stream = new (place ? place : ::operator new(sizeof(CUstream_st))) CUstream_st;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    wait_for_device_quietly();
    stream->~CUstream_st();
    const std::lock_guard lock(stream_mutex);
    destroyed_streams.push_back(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long* id) {
    *id = stream_of(stream).id;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    if (stream_of(stream).capturing) return give(cudaErrorStreamCaptureUnsupported);
    wait(stream_of(stream));
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode) {
    CUstream_st& stream = stream_of(handle);
    if (&stream == &stream_of(nullptr) || stream.capturing) return give(cudaErrorStreamCaptureUnsupported);
    stream.capturing = true;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
    CUstream_st& stream = stream_of(handle);
    if (!stream.capturing) return give(cudaErrorInvalidValue);
    *graph = new CUgraph_st{std::exchange(stream.recorded, {})};
    stream.capturing = false;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
    *executable = new CUgraphExec_st{graph->work};
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
    for (const auto& work : executable->work) standin::submit(stream, work);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    delete executable;
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    *event = new CUevent_st;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    auto record = std::make_shared<CUevent_st::Record>();
    record->stream = &stream_of(stream), record->done = false;
    event->last = record;
    standin::submit(stream, [record] { record->time = std::chrono::steady_clock::now(), record->done = true; });
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    if (event->last->stream) wait(*event->last->stream, &event->last->done);
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    *milliseconds = std::chrono::duration<float, std::milli>(end->last->time - begin->last->time).count();
    return cudaSuccess;
}
