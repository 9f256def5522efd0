#include "cpu/graph.h"

#include <chrono>

namespace steepest {
namespace {

using Clock = std::chrono::steady_clock;

// Rates of an ordinary core, for estimates only.
constexpr double kFlopsPerSecond = 5e10, kBytesPerSecond = 1e10;
// A step that is shorter than this on one thread stays there: its barriers would cost more than they save.
constexpr double kShortestTeamStep = 10e-6;
// How often the calling thread looks for an interrupt.
constexpr auto kPollPeriod = std::chrono::milliseconds(40);

// A barrier that also tells the team to stop. The flags alternate: the caller sets one of them before it arrives, the
// others read it after the barrier, and it can be set again only two barriers later, when all have read it.
class StopSignal {
  public:
    explicit StopSignal(bool (*interrupted)()) : interrupted_(interrupted), polled_(Clock::now()) {}

    bool sync(Team& team, int& turn) {
        turn ^= 1;
        if (team.rank() == 0 && interrupted_ && Clock::now() - polled_ > kPollPeriod) {
            flags_[turn] = interrupted_();
            polled_ = Clock::now();
        }
        team.barrier();
        return flags_[turn];
    }

  private:
    bool (*interrupted_)();
    Clock::time_point polled_;
    bool flags_[2] = {false, false};
};

bool any_overlap(const std::vector<ops::MemoryRange>& a, const std::vector<ops::MemoryRange>& b) {
    for (const auto& x : a)
        for (const auto& y : b)
            if (ops::overlap(x, y)) return true;
    return false;
}

}  // namespace

double estimated_seconds(double flops, double bytes) { return flops / kFlopsPerSecond + bytes / kBytesPerSecond; }

void Accesses::append(const Accesses& other) {
    reads.insert(reads.end(), other.reads.begin(), other.reads.end());
    writes.insert(writes.end(), other.writes.begin(), other.writes.end());
    uses_team_memory |= other.uses_team_memory;
}

bool Accesses::conflicts_with(const Accesses& other) const {
    return (uses_team_memory && other.uses_team_memory) || any_overlap(writes, other.writes) ||
           any_overlap(writes, other.reads) || any_overlap(reads, other.writes);
}

void Graph::add(std::shared_ptr<const void> op, void (*run)(const void*, Team&), const char* name, double flops,
                double bytes, const Accesses& accesses) {
    const bool wait = since_barrier_.conflicts_with(accesses);
    if (wait) since_barrier_ = Accesses();
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

ReplayResult Graph::replay(int64_t n, bool (*interrupted)()) const {
    ReplayResult result;
    StopSignal stop(interrupted);
    auto body = [&](Team& team) {
        int turn = 0;
        const auto step = [&] {
            for (const Operation& operation : operations_) {
                if (operation.barrier_before && stop.sync(team, turn)) {
                    if (team.rank() == 0) result.interrupted = true;
                    return false;
                }
                operation.run(operation.op.get(), team);
                if (team.failed()) return false;
            }
            return true;
        };
        for (int64_t s = 0; s < n; ++s) {
            if (!step()) return;
            const bool stopped = stop.sync(team, turn);  // the next step reads what this one wrote
            if (team.rank() == 0) result.steps = s + 1, result.interrupted = stopped;
            if (stopped) return;
        }
    };
    result.failure = run_team(threads(), body);
    return result;
}

std::vector<OperationProfile> Graph::profile(int64_t n, ReplayResult& result) const {
    std::vector<OperationProfile> profiles;
    for (const Operation& o : operations_) profiles.push_back({o.name, 0, o.flops, o.bytes});
    auto body = [&](Team& team) {
        for (int64_t s = 0; s < n; ++s) {
            for (size_t i = 0; i < operations_.size(); ++i) {
                const auto start = Clock::now();
                operations_[i].run(operations_[i].op.get(), team);
                if (team.failed()) return;
                team.barrier();
                if (team.rank() == 0)
                    profiles[i].seconds += std::chrono::duration<double>(Clock::now() - start).count();
            }
            if (team.rank() == 0) result.steps = s + 1;
        }
    };
    result.failure = run_team(threads(), body);
    for (OperationProfile& p : profiles) p.seconds /= static_cast<double>(n > 0 ? n : 1);
    return profiles;
}

}  // namespace steepest
