// A team of threads that runs one operation, or a whole graph, together. A CPU kernel is an SPMD function
// run(const Op&, Team&): every member calls it and takes its share of the work by rank.
//
// Rules that keep a team together:
//   * all members call barrier() equally often;
//   * fail() is decided from data that all members see alike, so that all of them leave at the same place;
//   * an exception of one thread makes the others leave at their next barrier, and reaches the caller of the region;
//   * how work is split may change only who computes an item, never how: results do not depend on the team's size.
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

// Reduction results that all members add to; chunked by shape alone, see chunk_of().
constexpr int kChunks = 64;

// A barrier that spins, since the others are usually microseconds away, and yields the processor when they are not:
// a member that waits for one that is not running would otherwise burn the time slice that the other needs.
class SpinBarrier {
  public:
    // Returns false, before the others have come, once `stopped` is set; the barrier is then to be reset.
    bool wait(int size, int spins_before_yield, const std::atomic<bool>* stopped = nullptr);
    // While nobody waits.
    void reset() { arrived_.store(0, std::memory_order_relaxed); }

  private:
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<uint32_t> generation_{0};
};

// How often the calling thread looks for an interrupt.
constexpr auto kPollPeriod = std::chrono::milliseconds(40);

// Partial products that all members add up; a team of one needs none.
constexpr size_t kPartialBytes = 256 << 10;

// What the members of one team share.
struct TeamState {
    SpinBarrier barrier;
    int size = 1;
    int spins_before_yield = 0;
    void* partials = nullptr;
    Failure failure;
    bool (*interrupted)() = nullptr;   // whether a long operation is to end; asked by the calling thread
    std::atomic<bool> stopped{false};  // by an exception of one of the threads
    std::exception_ptr error;          // the first of these
    alignas(64) double chunks[kChunks];
};

// What a region ends with where `interrupted` says so.
struct RegionInterrupted {};

// What a thread leaves the region with after the exception of another.
struct TeamStopped {};

class Team {
  public:
    Team(int rank, TeamState& state) : rank_(rank), state_(&state) {
        if (state.interrupted) looked_ = std::chrono::steady_clock::now();
    }

    int rank() const { return rank_; }
    int size() const { return state_->size; }
    void barrier();

    // Between two pieces of a long operation, a fraction of a millisecond apart: leaves the region where it is to end. What the
    // operation writes is then incomplete.
    STEEPEST_HD void checkpoint() {
        if (state_->interrupted) look_for_end();
    }

    // This member's share of 0..n in contiguous pieces that are multiples of `grain` (but for the last one).
    // With little work only the first members get any.
    Range split(int64_t n, int64_t grain) const;

    // Memory of this thread, 64-byte aligned, valid until the next call; its contents are undefined.
    void* scratch(size_t bytes);

    // kChunks partial sums that the team shares. Operations that use them declare team_memory() in visit().
    double* chunks() { return state_->chunks; }
    // kPartialBytes for partial products; null in a team of one. Who uses it ends with a barrier.
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
