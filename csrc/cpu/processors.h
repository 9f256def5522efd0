// How many processors this process may use.
#pragma once

#include <string>

namespace steepest {

// Those that it may run on, as far as the quotas of its control groups go.
int available_processors();

// The whole processors that the smallest quota of a process's control groups is worth, at least 1; 0 where there is no quota.
// A fraction is left out: a team of more threads would be stopped for a part of each period, and its threads that wait use the
// quota up as well. `cgroups` is the list of the groups (/proc/self/cgroup), `mount` their folder (/sys/fs/cgroup).
int processors_of_quota(const std::string& cgroups, const std::string& mount);

}  // namespace steepest
