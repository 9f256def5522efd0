#include "cuda/device.h"

#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

std::string version_text(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// The process that first used CUDA; 0 if none has.
std::atomic<pid_t> owner = 0;

std::unique_ptr<Device> describe(int id) {
    auto device = std::make_unique<Device>();
    const auto attribute = [&](cudaDeviceAttr name) {
        int value = 0;
        STEEPEST_CUDA_CHECK(cudaDeviceGetAttribute(&value, name, id));
        return value;
    };
    const int major = attribute(cudaDevAttrComputeCapabilityMajor);
    if (major < 8)
        throw CudaError("[cuda] device " + std::to_string(id) + " has compute capability " + std::to_string(major) +
                        "." + std::to_string(attribute(cudaDevAttrComputeCapabilityMinor)) +
                        ", but the kernels need 8.0 (Ampere) or newer");
    device->id = id;
    device->multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
    return device;
}

}  // namespace

std::string cuda_problem() {
    if (owner != 0 && owner != getpid())
        return "CUDA was used before this process was forked, and a forked child cannot use it: start processes with "
               "multiprocessing.get_context('spawn')";
    int driver = 0, runtime = 0, count = 0;
    cudaRuntimeGetVersion(&runtime);
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        cudaGetLastError();
        return "there is no NVIDIA driver on this machine";
    }
    const cudaError_t error = cudaGetDeviceCount(&count);
    cudaGetLastError();
    if (error == cudaErrorInsufficientDriver || driver / 1000 < runtime / 1000)
        return "the NVIDIA driver is for CUDA " + version_text(driver) + ", but steepest was built with CUDA " +
               version_text(runtime) + ": update the driver";
    if (error != cudaSuccess && error != cudaErrorNoDevice) return cudaGetErrorString(error);
    if (count == 0) return "there is no NVIDIA GPU on this machine, or CUDA_VISIBLE_DEVICES hides it";
    return "";
}

void require_cuda() {
    if (owner == getpid()) return;
    const std::string problem = cuda_problem();
    if (!problem.empty()) throw CudaError("[cuda] " + problem);
    owner = getpid();
}

const Device& use_device(int id) {
    static std::mutex mutex;
    static std::vector<std::unique_ptr<Device>> devices;
    const std::lock_guard lock(mutex);
    require_cuda();
    STEEPEST_CUDA_CHECK(cudaSetDevice(id));
    if (devices.size() <= static_cast<size_t>(id)) devices.resize(id + 1);
    if (!devices[id]) devices[id] = describe(id);
    return *devices[id];
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
