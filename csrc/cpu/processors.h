// The processors of this process: how many it may use, where a thread runs, and their caches.
#pragma once

#include <cstdint>
#include <string>

namespace steepest {

// The processors of its affinity mask, limited by the quotas of its control groups.
int available_processors();

// The processor that the calling thread runs on, or -1 if the system does not say.
int current_processor();

// Moves the calling thread from a processor, if it is there, to any other one of its affinity mask, which is then set
// again.
void leave_processor(int occupied);

// Bytes of the second-level cache of one processor; a typical number if the system does not say.
int64_t second_level_cache();

// The smallest quota of a process's control groups, in whole processors, at least 1; 0 if there is no quota. A fraction
// is dropped: with more threads the system would stop the team for a part of each period, and waiting threads use up
// the quota as well. `cgroups` is the list of the groups (/proc/self/cgroup), `mount` their folder (/sys/fs/cgroup).
int processors_of_quota(const std::string& cgroups, const std::string& mount);

}  // namespace steepest
