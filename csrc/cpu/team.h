// A team of threads that runs one operation, or a whole graph, together. A CPU kernel is an SPMD function
// run(const Op&, Team&): every thread calls it and takes its part of the work by rank.
//
// Rules that keep a team together:
//   * all threads call barrier() equally often;
//   * the decision to call fail() depends only on data that all threads see alike, so that all leave at the same place;
//   * after an exception of one thread the others leave at their next barrier, and the region's caller gets it;
//   * the split of the work may change which thread computes an item, never how: results do not depend on team size.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>

#include "common/failure.h"
#include "common/macros.h"

namespace steepest {

struct Range {
    int64_t begin, end;
    bool empty() const { return begin >= end; }
};

// The number of partial sums that a team shares. Chunks depend on the shape alone, see chunk_of().
constexpr int kChunks = 64;

// A barrier that spins, since the other threads are usually microseconds away. If they are not, it yields the
// processor: a waiting thread would otherwise burn the time slice of a thread that is not running.
class SpinBarrier {
  public:
    // Returns false, before the others have come, once `stopped` is set; then the barrier must be reset.
    bool wait(int size, int spins_before_yield, const std::atomic<bool>* stopped = nullptr);
    // Call only while no thread waits.
    void reset() { arrived_.store(0, std::memory_order_relaxed); }

  private:
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<uint32_t> generation_{0};
};

// The period at which the calling thread looks for an interrupt.
constexpr auto kPollPeriod = std::chrono::milliseconds(40);

// Bytes of partial products that the threads add up; a team of one needs none.
constexpr size_t kPartialBytes = 256 << 10;

// The state that the threads of one team share.
struct TeamState {
    SpinBarrier barrier;
    int size = 1;
    int spins_before_yield = 0;
    void* partials = nullptr;
    Failure failure;
    bool (*interrupted)() = nullptr;   // whether a long operation must end; called by the calling thread
    std::atomic<bool> stopped{false};  // set by an exception of one of the threads
    std::exception_ptr error;          // the first of these exceptions
    alignas(64) double chunks[kChunks];
};

// The exception that ends a region once `interrupted` returns true.
struct RegionInterrupted {};

// The exception with which a thread leaves the region after an exception of another thread.
struct TeamStopped {};

class Team {
  public:
    Team(int rank, TeamState& state) : rank_(rank), state_(&state) {
        if (state.interrupted) looked_ = std::chrono::steady_clock::now();
    }

    int rank() const { return rank_; }
    int size() const { return state_->size; }
    void barrier();

    // Call between two pieces of a long operation, a fraction of a millisecond apart. Leaves the region if it must end;
    // the operation's outputs are then incomplete.
    STEEPEST_HD void checkpoint() {
        if (state_->interrupted) look_for_end();
    }

    // The part of 0..n that this thread takes: contiguous, and a multiple of `grain`, except for the last part. With
    // little work only the first threads get any.
    Range split(int64_t n, int64_t grain) const;

    // Memory of this thread, 64-byte aligned, valid until the next call; its contents are undefined.
    void* scratch(size_t bytes);

    // kChunks partial sums that the team shares. Operations that use them declare team_memory() in visit().
    double* chunks() { return state_->chunks; }
    // kPartialBytes for partial products; null in a team of one. An operation that uses it ends with a barrier.
    void* partials() { return state_->partials; }

    void fail(const Failure& failure);
    bool failed() const { return failed_; }

  private:
    void look_for_end();

    int rank_;
    bool failed_ = false;
    TeamState* state_;
    std::chrono::steady_clock::time_point looked_;
};

// Chunk i of 0..n, out of kChunks; the same for every team.
Range chunk_of(int64_t n, int i);

}  // namespace steepest
