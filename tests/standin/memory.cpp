#include "standin/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) static_cast<void>(0)
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) static_cast<void>(0)
#endif

namespace standin {
namespace {

constexpr size_t kReserved = size_t{4} << 30;  // addresses; memory is what has been touched
constexpr size_t kAlignment = 256;
constexpr int kPoison = 0xff;

struct sigaction other_handler;

// Says what happened; the access is then tried again, and ends as it would have without this.
void explain_fault(int, siginfo_t* info, void*);

class Memory {
  public:
    Memory() {
        const int file = memfd_create("device memory of the stand-in", MFD_CLOEXEC);
        if (file < 0 || ftruncate(file, kReserved) != 0) std::abort();
        device_ = map(file, PROT_NONE), host_ = map(file, PROT_READ | PROT_WRITE);
        close(file);
        struct sigaction action = {};
        action.sa_sigaction = explain_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGSEGV, &action, &other_handler);
    }

    void* allocate(size_t bytes, size_t limit) {
        const std::lock_guard lock(mutex_);
        if (bytes > limit || used_ > limit - bytes) return nullptr;
        // The first gap that is large enough; some bytes stay free before the next.
        size_t begin = 0;
        for (const auto& [other, other_bytes] : blocks_) {
            if (other - begin >= bytes + kAlignment) break;
            begin = (other + other_bytes + 2 * kAlignment - 1) / kAlignment * kAlignment;
        }
        if (begin + bytes + kAlignment > kReserved) return nullptr;
        blocks_[begin] = bytes;
        used_ += bytes;
        std::memset(host_ + begin, kPoison, bytes);
        ASAN_POISON_MEMORY_REGION(device_ + begin, bytes + kAlignment);
        ASAN_UNPOISON_MEMORY_REGION(device_ + begin, bytes);
        return device_ + begin;
    }

    bool release(void* on_device) {
        const std::lock_guard lock(mutex_);
        const auto block = blocks_.find(static_cast<unsigned char*>(on_device) - device_);
        if (block == blocks_.end()) return false;
        std::memset(host_ + block->first, kPoison, block->second);
        ASAN_POISON_MEMORY_REGION(on_device, block->second);
        used_ -= block->second;
        blocks_.erase(block);
        return true;
    }

    size_t used() {
        const std::lock_guard lock(mutex_);
        return used_;
    }

    void work(int change) {
        const std::lock_guard lock(mutex_);
        working_ += change;
        if (change > 0 ? working_ == 1 : working_ == 0)
            mprotect(device_, kReserved, working_ ? PROT_READ | PROT_WRITE : PROT_NONE);
    }

    void* host_address(const void* at) const { return translate(at, device_, host_); }
    void* device_address(const void* at) const { return translate(at, host_, device_); }

  private:
    static unsigned char* map(int file, int protection) {
        void* const at = mmap(nullptr, kReserved, protection, MAP_SHARED | MAP_NORESERVE, file, 0);
        if (at == MAP_FAILED) std::abort();
        return static_cast<unsigned char*>(at);
    }

    static void* translate(const void* at, const unsigned char* from, unsigned char* to) {
        const size_t offset = reinterpret_cast<uintptr_t>(at) - reinterpret_cast<uintptr_t>(from);
        return offset < kReserved ? to + offset : nullptr;
    }

    unsigned char *device_, *host_;
    std::mutex mutex_;
    std::map<size_t, size_t> blocks_;  // where each begins, and its bytes
    size_t used_ = 0;
    int working_ = 0;
};

// Never destroyed: memory is freed at the end of the process, too.
Memory& memory() {
    static auto& memory = *new Memory();
    return memory;
}

void explain_fault(int, siginfo_t* info, void*) {
    if (memory().host_address(info->si_addr)) {
        constexpr char kText[] = "[cuda stand-in] the host touches device memory, which is for kernels\n";
        if (write(STDERR_FILENO, kText, sizeof kText - 1) < 0) std::abort();
    }
    sigaction(SIGSEGV, &other_handler, nullptr);
}

}  // namespace

void* allocate(size_t bytes, size_t limit) { return memory().allocate(bytes, limit); }
bool release(void* on_device) { return memory().release(on_device); }
size_t allocated_bytes() { return memory().used(); }
void* host_address(const void* on_device) { return memory().host_address(on_device); }
void* device_address(const void* on_host) { return memory().device_address(on_host); }

DeviceWorks::DeviceWorks() { memory().work(1); }
DeviceWorks::~DeviceWorks() { memory().work(-1); }

}  // namespace standin
