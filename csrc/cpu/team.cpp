#include "cpu/team.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "cpu/pause.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace steepest {

bool SpinBarrier::wait(int size, int spins_before_yield, const std::atomic<bool>* stopped) {
    if (size == 1) return true;
    const uint32_t generation = generation_.load(std::memory_order_relaxed);
    // acq_rel: the last thread to arrive sees all writes of the others, and publishes them with the release below.
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
        arrived_.store(0, std::memory_order_relaxed);
        generation_.store(generation + 1, std::memory_order_release);
        return true;
    }
    for (int spins = 0; generation_.load(std::memory_order_acquire) == generation; ++spins) {
        if (stopped && stopped->load(std::memory_order_relaxed)) return false;
        if (spins < spins_before_yield)
            cpu_pause();
        else
            sched_yield();
    }
    return true;
}

void Team::barrier() {
    if (!state_->barrier.wait(state_->size, state_->spins_before_yield, &state_->stopped)) throw TeamStopped();
}

void Team::look_for_end() {
    if (state_->stopped.load(std::memory_order_relaxed)) throw TeamStopped();
    if (rank_ != 0) return;
    const auto now = std::chrono::steady_clock::now();
    if (now - looked_ < kPollPeriod) return;
    looked_ = now;
    if (state_->interrupted()) throw RegionInterrupted();
}

Range Team::split(int64_t n, int64_t grain) const {
    const int64_t grains = (n + grain - 1) / grain;
    const int64_t members = std::min<int64_t>(size(), grains);
    if (rank_ >= members) return {n, n};
    const int64_t begin = grains * rank_ / members * grain;
    const int64_t end = grains * (rank_ + 1) / members * grain;
    return {begin, std::min(end, n)};
}

namespace {

struct Scratch {
    void* memory = nullptr;
    size_t bytes = 0;
    ~Scratch() { std::free(memory); }
};
thread_local Scratch thread_scratch;

}  // namespace

void* Team::scratch(size_t bytes) {
    Scratch& s = thread_scratch;
    if (bytes > s.bytes) {
        std::free(s.memory);
        s.bytes = (bytes + 4095) / 4096 * 4096;
        s.memory = std::aligned_alloc(64, s.bytes);
        if (!s.memory) {
            s.bytes = 0;
            throw std::bad_alloc();
        }
    }
#if defined(__SANITIZE_ADDRESS__)
    // Memory beyond this, which an earlier operation requested, is out of bounds now.
    ASAN_UNPOISON_MEMORY_REGION(s.memory, bytes);
    ASAN_POISON_MEMORY_REGION(static_cast<char*>(s.memory) + bytes, s.bytes - bytes);
#endif
    return s.memory;
}

void Team::fail(const Failure& failure) {
    failed_ = true;
    // All threads come here with the same failure; one writes it. The barrier at the end of the region publishes it.
    if (rank_ == 0) state_->failure = failure;
}

Range chunk_of(int64_t n, int i) { return {n * i / kChunks, n * (i + 1) / kChunks}; }

}  // namespace steepest
