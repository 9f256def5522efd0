#include "cpu/processors.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

namespace steepest {
namespace {

// The number of processors that the CPU quota of a control group allows (cgroup v2, then v1), or 0 without a quota.
double quota_of(const std::string& folder) {
    double quota = 0, period = 0;
    if (std::ifstream(folder + "/cpu.max") >> quota >> period) return quota / period;  // "max 100000" fails
    if (std::ifstream(folder + "/cpu.cfs_quota_us") >> quota && quota > 0 &&
        std::ifstream(folder + "/cpu.cfs_period_us") >> period)
        return quota / period;
    return 0;
}

bool names_cpu(const std::string& controllers) {
    std::istringstream names(controllers);
    for (std::string name; std::getline(names, name, ',');)
        if (name == "cpu") return true;
    return false;
}

}  // namespace

int processors_of_quota(const std::string& cgroups, const std::string& mount) {
    double least = 0;
    // A quota also limits the groups inside its group. In a container the path may be the host's; then only the root
    // exists.
    const auto visit = [&](const std::string& root, std::string path) {
        for (;;) {
            const double quota = quota_of(root + path);
            if (quota > 0 && (least == 0 || quota < least)) least = quota;
            if (path.empty()) return;
            path.erase(path.find_last_of('/'));
        }
    };
    const std::string folder = mount + "/";
    std::ifstream lines(cgroups);
    for (std::string line; std::getline(lines, line);) {  // number:controllers:/path
        const size_t first = line.find(':'), second = line.find(':', first + 1);
        if (second == std::string::npos || line[second + 1] != '/') continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        std::string path = line.substr(second + 1);
        if (path == "/") path.clear();
        if (controllers.empty()) visit(mount, path);
        if (!names_cpu(controllers)) continue;
        visit(folder + controllers, path);
        if (controllers != "cpu") visit(folder + "cpu", path);
    }
    return least > 0 ? std::max(1, static_cast<int>(least)) : 0;
}

int available_processors() {
    static const int count = [] {
        int processors = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
        cpu_set_t set;
        if (sched_getaffinity(0, sizeof(set), &set) == 0) processors = CPU_COUNT(&set);
        if (const int quota = processors_of_quota("/proc/self/cgroup", "/sys/fs/cgroup"))
            processors = std::min(processors, quota);
#endif
        return std::max(1, processors);
    }();
    return count;
}

int current_processor() {
#if defined(__linux__)
    return sched_getcpu();
#else
    return -1;
#endif
}

void leave_processor(int occupied) {
#if defined(__linux__)
    if (occupied < 0 || sched_getcpu() != occupied) return;
    cpu_set_t all;
    if (sched_getaffinity(0, sizeof(all), &all) != 0) return;
    cpu_set_t others = all;
    CPU_CLR(occupied, &others);
    // The first call moves the thread, the second one allows all processors again.
    if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof(others), &others) == 0)
        sched_setaffinity(0, sizeof(all), &all);
#else
    (void)occupied;
#endif
}

int64_t second_level_cache() {
    static const int64_t bytes = [] {
        const long told = sysconf(_SC_LEVEL2_CACHE_SIZE);
        return told > 0 ? told : 1L << 20;
    }();
    return bytes;
}

}  // namespace steepest
