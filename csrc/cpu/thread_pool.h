// The process's worker threads. They sleep between regions, after a short spin that keeps back-to-back calls fast.
#pragma once

#include <chrono>

#include "cpu/team.h"

namespace steepest {

// The team size that the user has set: with set_num_threads, else with OMP_NUM_THREADS, else available_processors().
int get_num_threads();
void set_num_threads(int n);
constexpr int kMaxThreads = 1023;

// Runs body(team) on `threads` threads, including the caller's, and returns when all are done. A second region that
// starts meanwhile on another thread (two fits at once) runs on its caller's thread alone: the results are the same,
// and the processors are busy anyhow. A team is smaller if the system refuses more threads. Returns the failure that a
// kernel reported, if any. An exception of one thread stops the others, and is thrown here once all have left.
//
// The calling thread calls `interrupted`, if given, a few times a second. Once it returns true, an operation that has
// checkpoints ends with RegionInterrupted.
//
// If other programs use the processors, every barrier waits until the scheduler runs the missing thread. The wait at
// the end of a region, or note_crowding(), notices this. Regions then run on their caller's thread alone for a while.
constexpr auto kAlonePeriod = std::chrono::milliseconds(50);
void note_crowding();

class TeamBody;
Failure run_team(int threads, TeamBody body, bool (*interrupted)() = nullptr);

// A reference to a callable body(Team&), which outlives the region.
class TeamBody {
  public:
    template <class F>
    TeamBody(F& f) : context_(&f), call_([](void* context, Team& team) { (*static_cast<F*>(context))(team); }) {}
    void operator()(Team& team) const { call_(context_, team); }

  private:
    void* context_;
    void (*call_)(void*, Team&);
};

}  // namespace steepest
