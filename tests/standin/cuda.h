// A stand-in for CUDA, on which tests run kernels without a GPU: the names that kernels use, and as much of the runtime
// as launches them. It says what a kernel computes and whether its threads work together rightly, not how fast.
#pragma once

#include <math.h>  // and not <cmath>: exp(x) of a float is a float, as in CUDA

#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#include "standin/block.h"

// ---------------------------------------------------------------------------------------------- in kernels

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

inline void __syncthreads(standin::Site site = standin::Site::current()) { standin::barrier(false, site); }
inline int __syncthreads_count(int vote, standin::Site site = standin::Site::current()) {
    return standin::barrier(vote != 0, site);
}
inline int __syncthreads_or(int vote, standin::Site site = standin::Site::current()) {
    return standin::barrier(vote != 0, site) != 0;
}
inline int __syncthreads_and(int vote, standin::Site site = standin::Site::current()) {
    return standin::barrier(vote == 0, site) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, standin::Site site = standin::Site::current()) {
    standin::collective(mask, nullptr, nullptr, true, site);
}

namespace standin {

template <class T>
struct Shuffle {
    T value;
    unsigned from;  // the lane that this one reads
    T result;
};

template <class T>
T shuffle(unsigned mask, T value, unsigned from, const Site& site) {
    static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
    Shuffle<T> mine{value, from, value};
    const Combine combine = [](void* const(&operands)[kLanes]) {
        for (int l = 0; l < kLanes; ++l) {
            if (!operands[l]) continue;
            auto& reader = *static_cast<Shuffle<T>*>(operands[l]);
            const void* const source = operands[reader.from];
            if (!source)
                fail("lane " + std::to_string(l) + " reads lane " + std::to_string(reader.from) +
                     ", which is not in the mask");
            reader.result = static_cast<const Shuffle<T>*>(source)->value;
        }
    };
    collective(mask, &mine, combine, false, site);
    return mine.result;
}

inline unsigned ballot(unsigned mask, bool vote, const Site& site) {
    unsigned result = vote;
    const Combine combine = [](void* const(&operands)[kLanes]) {
        unsigned votes = 0;
        for (int l = 0; l < kLanes; ++l)
            if (operands[l]) votes |= *static_cast<unsigned*>(operands[l]) << l;
        for (void* const operand : operands)
            if (operand) *static_cast<unsigned*>(operand) = votes;
    };
    collective(mask, &result, combine, false, site);
    return result;
}

}  // namespace standin

// Lanes that would read past their group of `width` keep their own value.
template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, standin::Site site = standin::Site::current()) {
    const unsigned first = standin::lane() & ~(width - 1u);
    return standin::shuffle(mask, value, first + (from & (width - 1u)), site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int flip, int width = 32, standin::Site site = standin::Site::current()) {
    const unsigned lane = standin::lane(), from = (lane ^ flip) % standin::kLanes;
    return standin::shuffle(mask, value, from <= (lane | (width - 1u)) ? from : lane, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, standin::Site site = standin::Site::current()) {
    const unsigned lane = standin::lane();
    return standin::shuffle(mask, value, lane + by <= (lane | (width - 1u)) ? lane + by : lane, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, standin::Site site = standin::Site::current()) {
    const unsigned lane = standin::lane();
    return standin::shuffle(mask, value, (lane & (width - 1u)) >= by ? lane - by : lane, site);
}
inline unsigned __ballot_sync(unsigned mask, int vote, standin::Site site = standin::Site::current()) {
    return standin::ballot(mask, vote != 0, site);
}
inline int __any_sync(unsigned mask, int vote, standin::Site site = standin::Site::current()) {
    return standin::ballot(mask, vote != 0, site) != 0;
}
inline int __all_sync(unsigned mask, int vote, standin::Site site = standin::Site::current()) {
    return standin::ballot(mask, vote == 0, site) == 0;
}

// Only one thread runs at a time.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

#define STANDIN_ATOMIC(name, expression)                                                                           \
    template <class T>                                                                                             \
        requires(std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long> || \
                 std::is_same_v<T, float> || std::is_same_v<T, double>)                                            \
    T name(T* at, std::type_identity_t<T> value) {                                                                 \
        const T old = *at;                                                                                         \
        *at = expression;                                                                                          \
        return old;                                                                                                \
    }
STANDIN_ATOMIC(atomicAdd, old + value)
STANDIN_ATOMIC(atomicMin, value < old ? value : old)
STANDIN_ATOMIC(atomicMax, value > old ? value : old)
STANDIN_ATOMIC(atomicExch, value)
STANDIN_ATOMIC(atomicOr, old | value)
#undef STANDIN_ATOMIC

template <class T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
    const T old = *at;
    if (old == expected) *at = value;
    return old;
}

template <class T>
T __ldg(const T* at) {
    return *at;
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }

namespace standin {

template <class To, class From>
To same_bits(From x) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &x, sizeof to);
    return to;
}

}  // namespace standin

inline unsigned __float_as_uint(float x) { return standin::same_bits<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return standin::same_bits<float>(x); }
inline int __float_as_int(float x) { return standin::same_bits<int>(x); }
inline float __int_as_float(int x) { return standin::same_bits<float>(x); }
inline long long __double_as_longlong(double x) { return standin::same_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return standin::same_bits<double>(x); }

// ---------------------------------------------------------------------------------------------- the runtime

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorStreamCaptureUnsupported = 900,
};
enum cudaDeviceAttr {
    cudaDevAttrMaxThreadsPerBlock,
    cudaDevAttrMultiProcessorCount,
    cudaDevAttrComputeCapabilityMajor,
    cudaDevAttrComputeCapabilityMinor,
};
struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
    int multiProcessorCount, major, minor;
};
enum cudaStreamCaptureMode {
    cudaStreamCaptureModeGlobal,
    cudaStreamCaptureModeThreadLocal,
    cudaStreamCaptureModeRelaxed
};
constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventDisableTiming = 2, cudaHostAllocMapped = 2;
using cudaStream_t = struct CUstream_st*;
#define cudaStreamLegacy reinterpret_cast<cudaStream_t>(1)
#define cudaStreamPerThread reinterpret_cast<cudaStream_t>(2)
using cudaEvent_t = struct CUevent_st*;
using cudaGraph_t = struct CUgraph_st*;
using cudaGraphExec_t = struct CUgraphExec_st*;

const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int id);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr name, int id);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int id);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);

cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaHostGetDevicePointer(void** on_device, void* on_host, unsigned flags);
cudaError_t cudaMemset(void* memory, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream);

// A stream keeps its work until the host waits for it, or records it while it is captured.
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long* id);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end);

namespace standin {

// Runs kernel() for every thread of a grid, when the host waits for the stream. Throws a Fault for a launch that no device
// would take; waiting throws one when the kernel does something wrong.
void launch(cudaStream_t stream, dim3 grid, dim3 block, size_t shared_bytes, std::function<void()> kernel);

// Gives work to a stream.
void submit(cudaStream_t stream, std::function<void()> work);

// Lets all streams do what they have been given.
void wait_for_device();

}  // namespace standin
