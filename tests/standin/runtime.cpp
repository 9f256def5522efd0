// The host's side of CUDA: one small device, whose memory is the host's. Environment variables, read at every call,
// change what it offers:
//     STANDIN_MULTIPROCESSORS   4 unless set: few, so that small work fills several waves
//     STANDIN_DEVICES           1 or 0
//     STANDIN_DRIVER_VERSION    13000, or 0 where there is no driver
//     STANDIN_FREE_MEMORY       bytes that cudaMalloc has to give
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "standin/cuda.h"

namespace {

constexpr int kRuntimeVersion = 13000;
constexpr int kPoison = 0xff;  // NaN as a number, -1 as an index

long long setting(const char* name, long long otherwise) {
    const char* const text = std::getenv(name);
    return text && *text ? std::atoll(text) : otherwise;
}

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t give(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

cudaError_t device_error() {
    if (setting("STANDIN_DRIVER_VERSION", kRuntimeVersion) < kRuntimeVersion) return cudaErrorInsufficientDriver;
    return setting("STANDIN_DEVICES", 1) > 0 ? cudaSuccess : cudaErrorNoDevice;
}

std::mutex memory_mutex;
// Never destroyed: memory is freed at the end of the process, too.
auto& allocations = *new std::map<void*, size_t>;
size_t used = 0;

size_t total_memory() { return static_cast<size_t>(setting("STANDIN_FREE_MEMORY", 1LL << 30)); }

}  // namespace

using Work = std::vector<std::function<void()>>;

struct CUstream_st {
    bool capturing = false;
    Work recorded;
};
struct CUgraph_st {
    Work work;
};
struct CUgraphExec_st {
    Work work;
};
struct CUevent_st {
    std::chrono::steady_clock::time_point time;
};

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
    *count = device_error() == cudaSuccess ? 1 : 0;
    return give(device_error());
}

cudaError_t cudaSetDevice(int id) { return give(id == 0 ? device_error() : cudaErrorInvalidValue); }

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name, int id) {
    if (id != 0) return give(cudaErrorInvalidValue);
    switch (name) {
        case cudaDevAttrMaxThreadsPerBlock: *value = standin::kMaxThreads; break;
        case cudaDevAttrMultiProcessorCount: *value = static_cast<int>(setting("STANDIN_MULTIPROCESSORS", 4)); break;
        case cudaDevAttrComputeCapabilityMajor: *value = 8; break;
        case cudaDevAttrComputeCapabilityMinor: *value = 0; break;
    }
    return give(device_error());
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int id) {
    if (id != 0) return give(cudaErrorInvalidValue);
    *properties = {};
    std::snprintf(properties->name, sizeof properties->name, "stand-in for CUDA on the host");
    properties->totalGlobalMem = total_memory();
    properties->major = 8;
    return cudaDeviceGetAttribute(&properties->multiProcessorCount, cudaDevAttrMultiProcessorCount, id);
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    const std::lock_guard lock(memory_mutex);
    *total = total_memory();
    *free = used < *total ? *total - used : 0;
    return give(device_error());
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
    const std::lock_guard lock(memory_mutex);
    *memory = nullptr;
    if (device_error() != cudaSuccess) return give(device_error());
    if (bytes == 0) return cudaSuccess;
    if (bytes > total_memory() || used > total_memory() - bytes || posix_memalign(memory, 256, bytes) != 0)
        return give(cudaErrorMemoryAllocation);
    std::memset(*memory, kPoison, bytes);
    allocations[*memory] = bytes;
    used += bytes;
    return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
    const std::lock_guard lock(memory_mutex);
    if (!memory) return cudaSuccess;
    const auto found = allocations.find(memory);
    if (found == allocations.end()) return give(cudaErrorInvalidValue);
    used -= found->second;
    allocations.erase(found);
    std::free(memory);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
    return give(posix_memalign(memory, 256, bytes) == 0 ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void* memory) {
    std::free(memory);
    return cudaSuccess;
}

cudaError_t cudaHostGetDevicePointer(void** on_device, void* on_host, unsigned) {
    *on_device = on_host;
    return cudaSuccess;
}

cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
    std::memset(memory, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
    standin::submit(stream, [=] { std::memset(memory, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    *stream = new CUstream_st;
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return give(stream && stream->capturing ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    if (!stream || stream->capturing) return give(cudaErrorStreamCaptureUnsupported);
    stream->capturing = true;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    if (!stream || !stream->capturing) return give(cudaErrorInvalidValue);
    *graph = new CUgraph_st{std::exchange(stream->recorded, {})};
    stream->capturing = false;
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
    standin::submit(stream, [=] { event->time = std::chrono::steady_clock::now(); });
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
    return cudaSuccess;
}

void standin::submit(cudaStream_t stream, std::function<void()> work) {
    if (stream && stream->capturing)
        stream->recorded.push_back(std::move(work));
    else
        work();
}
