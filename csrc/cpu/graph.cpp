#include "cpu/graph.h"

#include <chrono>

namespace steepest {
namespace {

using Clock = std::chrono::steady_clock;

// Throughput of a typical core, in operations and bytes per second; rough values, for estimates only.
constexpr double kFlopsPerSecond = 5e10, kBytesPerSecond = 1e10;
// Seconds. A step that is shorter than this on one thread stays on it: its barriers would cost more than they save.
constexpr double kShortestTeamStep = 10e-6;
// A team that spends most of this time waiting shares its processors with other programs.
constexpr auto kCrowdWindow = std::chrono::milliseconds(5);

enum class Stop : int8_t { kNo, kInterrupted, kChangeTeam };

// The barriers of a replay, at which the calling thread also tells the other threads whether to stop. The answers
// alternate between two places. The caller writes an answer before it arrives, and the others read it after the
// barrier. Its place is written again two barriers later, when all have read it.
class Conductor {
  public:
    explicit Conductor(bool (*interrupted)()) : interrupted_(interrupted), polled_(Clock::now()) {}

    // Call before a region; `full_team` is the size of its team unless the processors are crowded.
    void begin(int full_team) {
        full_team_ = full_team;
        window_begin_ = Clock::now();
        waited_ = {};
        answers_[0] = answers_[1] = Stop::kNo;
    }

    Stop sync(Team& team, int& turn, bool step_ends) {
        turn ^= 1;
        if (team.rank() != 0) {
            team.barrier();
            return answers_[turn];
        }
        const auto arrived = Clock::now();
        answers_[turn] = answer(arrived, team.size(), step_ends);
        if (team.size() == 1) return answers_[turn];
        team.barrier();
        waited_ += Clock::now() - arrived;
        return answers_[turn];
    }

  private:
    Stop answer(Clock::time_point now, int size, bool step_ends) {
        if (interrupted_ && now - polled_ > kPollPeriod) {
            polled_ = now;
            if (interrupted_()) return Stop::kInterrupted;
        }
        if (!step_ends) return Stop::kNo;
        const auto passed = now - window_begin_;
        if (size == 1) return full_team_ > 1 && passed > kAlonePeriod ? Stop::kChangeTeam : Stop::kNo;
        if (passed < kCrowdWindow) return Stop::kNo;
        const bool crowded = 2 * waited_ > passed;
        window_begin_ = now;
        waited_ = {};
        if (!crowded) return Stop::kNo;
        note_crowding();
        return Stop::kChangeTeam;
    }

    bool (*interrupted_)();
    Clock::time_point polled_, window_begin_;
    Clock::duration waited_{};
    int full_team_ = 1;
    Stop answers_[2] = {Stop::kNo, Stop::kNo};
};

}  // namespace

double estimated_seconds(double flops, double bytes) { return flops / kFlopsPerSecond + bytes / kBytesPerSecond; }

void Graph::add(std::shared_ptr<const void> op, void (*run)(const void*, Team&), const char* name, double flops,
                double bytes, const ops::Accesses& accesses) {
    const bool wait = since_barrier_.conflicts_with(accesses);
    if (wait) since_barrier_ = ops::Accesses();
    since_barrier_.append(accesses);
    seconds_ += estimated_seconds(flops, bytes);
    operations_.push_back({std::move(op), run, name, flops, bytes, wait});
}

std::vector<const char*> Graph::names() const {
    std::vector<const char*> names;
    for (const Operation& operation : operations_) names.push_back(operation.name);
    return names;
}

int Graph::threads() const { return seconds_ < kShortestTeamStep ? 1 : get_num_threads(); }

ops::ReplayResult Graph::replay(int64_t n, bool (*interrupted)()) const {
    ops::ReplayResult result;
    Conductor conductor(interrupted);
    int64_t first = 0;
    auto body = [&](Team& team) {
        int turn = 0;
        const auto stop = [&](bool step_ends) {
            const Stop answer = conductor.sync(team, turn, step_ends);
            if (team.rank() == 0) result.interrupted = answer == Stop::kInterrupted;
            return answer != Stop::kNo;
        };
        const auto completes_step = [&] {
            for (const Operation& operation : operations_) {
                if (operation.barrier_before && stop(false)) return false;
                operation.run(operation.op.get(), team);
                if (team.failed()) return false;
            }
            return true;
        };
        for (int64_t s = first; s < n && completes_step(); ++s) {
            if (team.rank() == 0) result.steps = s + 1;
            if (stop(true)) return;  // a barrier: the next step reads what this one wrote
        }
    };
    const int full_team = threads();
    do {
        first = result.steps;
        conductor.begin(full_team);
        result.failure = run_team(full_team, body);
    } while (result.steps < n && !result.interrupted && result.failure.kind == Failure::kNone);
    return result;
}

std::vector<ops::OperationProfile> Graph::profile(int64_t n, bool (*interrupted)(), ops::ReplayResult& result) const {
    std::vector<ops::OperationProfile> profiles;
    for (const Operation& o : operations_) profiles.push_back({o.name, 0, o.flops, o.bytes});
    Conductor conductor(interrupted);
    auto body = [&](Team& team) {
        int turn = 0;
        for (int64_t s = 0; s < n; ++s) {
            for (size_t i = 0; i < operations_.size(); ++i) {
                const auto start = Clock::now();
                operations_[i].run(operations_[i].op.get(), team);
                if (team.failed()) return;
                const Stop answer = conductor.sync(team, turn, false);
                if (team.rank() == 0) {
                    profiles[i].seconds += std::chrono::duration<double>(Clock::now() - start).count();
                    result.interrupted = answer == Stop::kInterrupted;
                }
                if (answer != Stop::kNo) return;
            }
            if (team.rank() == 0) result.steps = s + 1;
        }
    };
    conductor.begin(threads());
    result.failure = run_team(threads(), body);
    for (ops::OperationProfile& p : profiles) p.seconds /= static_cast<double>(n > 0 ? n : 1);
    return profiles;
}

}  // namespace steepest
