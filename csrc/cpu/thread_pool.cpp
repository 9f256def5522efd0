#include "cpu/thread_pool.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "cpu/pause.h"
#include "cpu/processors.h"

namespace steepest {
namespace {

// Numbers of pauses, about 50 µs and 5 µs: long compared with the gap between two calls or two barriers, short compared
// with a time slice.
constexpr int kSpinsBeforeSleep = 1000;
constexpr int kSpinsBeforeYield = 100;

// If a thread is this late, and for half of the region, the cause is not its part of the work.
constexpr auto kLongWait = std::chrono::milliseconds(2);

using Clock = std::chrono::steady_clock;

std::atomic<int> requested_threads{0};
std::atomic<Clock::rep> alone_until{0};

class ThreadPool {
  public:
    Failure run(int threads, TeamBody body, bool (*interrupted)()) {
        std::unique_lock<std::mutex> region(region_mutex_, std::try_to_lock);
        if (!region.owns_lock()) return run_alone(body, interrupted);
        const auto began = Clock::now();
        threads = std::min(threads, grow(threads - 1) + 1);
        if (threads == 1) return run_alone(body, interrupted);
        state_.barrier.reset();
        state_.size = threads;
        state_.partials = partials_;
        state_.spins_before_yield = threads > available_processors() ? 0 : kSpinsBeforeYield;
        state_.failure = Failure();
        state_.interrupted = interrupted;
        state_.stopped.store(false, std::memory_order_relaxed);
        body_ = &body;
        caller_processor_ = threads > available_processors() ? -1 : current_processor();
        // The team's size is stored in one word with the region's number: a worker outside the team that wakes up late
        // must not read the size of the next region.
        const uint32_t count = (region_.load(std::memory_order_relaxed) & ~kSizeMask) + (kSizeMask + 1);
        region_.store(count | static_cast<uint32_t>(threads), std::memory_order_release);
        region_.notify_all();
        run_member(0, state_, body);
        const auto arrived = Clock::now();
        exit_.wait(threads, state_.spins_before_yield);
        const auto left = Clock::now();
        if (left - arrived > kLongWait && 2 * (left - arrived) > left - began) note_crowding();
        if (state_.error) std::rethrow_exception(std::exchange(state_.error, nullptr));
        return state_.failure;
    }

    static Failure run_alone(TeamBody body, bool (*interrupted)()) {
        TeamState alone;
        alone.interrupted = interrupted;
        Team team(0, alone);
        body(team);
        return alone.failure;
    }

  private:
    static constexpr uint32_t kSizeMask = kMaxThreads;

    // An exception of any thread ends the region: the others leave at their next barrier, and run() throws it on the
    // calling thread.
    static void run_member(int rank, TeamState& state, TeamBody body) noexcept {
        Team team(rank, state);
        try {
            body(team);
        } catch (const TeamStopped&) {
            return;
        } catch (...) {
            if (!state.stopped.exchange(true, std::memory_order_relaxed)) state.error = std::current_exception();
        }
    }

    // Returns the number of workers. It is smaller than requested if the system refuses more threads, as in a container
    // that limits them.
    int grow(int workers) {
        const uint32_t seen = region_.load(std::memory_order_relaxed);
        try {
            while (workers_ < workers) {
                std::thread([this, rank = workers_ + 1, seen] { work(rank, seen); }).detach();
                ++workers_;
            }
        } catch (const std::system_error&) {
            return workers_;
        } catch (const std::bad_alloc&) {
            return workers_;
        }
        return workers_;
    }

    void work(int rank, uint32_t seen) {
        for (;;) {
            for (int spins = 0; region_.load(std::memory_order_acquire) == seen && spins < kSpinsBeforeSleep; ++spins)
                cpu_pause();
            region_.wait(seen, std::memory_order_acquire);
            seen = region_.load(std::memory_order_acquire);
            const int size = static_cast<int>(seen & kSizeMask);
            if (rank >= size) continue;
            // The scheduler may wake this thread on the processor of the caller, which computes and then spins, although
            // another one is idle. They would take turns for a long time, as slow as one thread.
            leave_processor(caller_processor_);
            run_member(rank, state_, *body_);
            exit_.wait(size, state_.spins_before_yield);
        }
    }

    std::mutex region_mutex_;
    TeamState state_;
    // Every thread leaves a region through this barrier, even after an exception, so that the body outlives its last
    // use.
    SpinBarrier exit_;
    alignas(64) char partials_[kPartialBytes];
    const TeamBody* body_ = nullptr;
    int caller_processor_ = -1;
    std::atomic<uint32_t> region_{0};
    int workers_ = 0;
};

// Never destroyed: the workers are detached and may outlive static destructors. After a fork the child has none of
// its parent's workers, so it starts with a new pool.
std::atomic<ThreadPool*> the_pool{nullptr};

ThreadPool& pool() {
    static const bool registered = [] {
        pthread_atfork(nullptr, nullptr, [] { the_pool.store(new ThreadPool); });
        the_pool.store(new ThreadPool);
        return true;
    }();
    (void)registered;
    return *the_pool.load(std::memory_order_acquire);
}

int threads_from_environment() {
    const char* text = std::getenv("OMP_NUM_THREADS");
    const int n = text ? std::atoi(text) : 0;
    return std::min(n > 0 ? n : available_processors(), kMaxThreads);
}

}  // namespace

int get_num_threads() {
    const int n = requested_threads.load(std::memory_order_relaxed);
    if (n > 0) return n;
    static const int from_environment = threads_from_environment();
    return from_environment;
}

void set_num_threads(int n) { requested_threads.store(std::clamp(n, 1, kMaxThreads), std::memory_order_relaxed); }

void note_crowding() {
#if !defined(__SANITIZE_THREAD__)  // which must observe teams, however long they wait
    alone_until.store((Clock::now() + kAlonePeriod).time_since_epoch().count(), std::memory_order_relaxed);
#endif
}

Failure run_team(int threads, TeamBody body, bool (*interrupted)()) {
    if (threads > 1 && Clock::now().time_since_epoch().count() < alone_until.load(std::memory_order_relaxed))
        threads = 1;
    return threads == 1 ? ThreadPool::run_alone(body, interrupted) : pool().run(threads, body, interrupted);
}

}  // namespace steepest
