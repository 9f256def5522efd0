// Runs the threads of a block one at a time, as fibres that stop where CUDA threads wait for one another, and checks
// what they do together. A kernel whose threads wait for each other by spinning on memory would never end here.
#pragma once

#include <cstdint>
#include <cstring>
#include <source_location>
#include <stdexcept>
#include <string>

namespace standin {

using Site = std::source_location;

// What a kernel did wrong: which block, which threads, where.
struct Fault : std::runtime_error {
    using std::runtime_error::runtime_error;
};

constexpr int kLanes = 32;
constexpr int kMaxThreads = 1024;
constexpr size_t kMaxSharedBytes = 99 << 10;

// What the checks of memory look at. Time counts block barriers and warp barriers, and never stands still between
// blocks, so that what an earlier block left in the records below is merely old.
struct Running {
    unsigned thread = 0;
    uint32_t now = 1, block_began = 1, last_barrier = 1;
    uint32_t last_warp_barrier[kMaxThreads / kLanes] = {};
    size_t shared_bytes = 0;
};
extern Running running;

alignas(128) extern unsigned char shared_bytes[kMaxSharedBytes];

// Ends the block; the launch throws a Fault. No exception could cross from one stack to another.
[[noreturn]] void fail(const std::string& text);
std::string place_of(const Site& site);

inline unsigned lane() { return running.thread % kLanes; }

// Waits for all threads of the block; gives the number of those that voted.
int barrier(bool vote, const Site& site);

// Waits for the lanes of `mask` at the same site. The last to arrive calls `combine` with the operands of all lanes,
// null outside the mask. With `orders_memory`, what the lanes did before happened before what they do after.
using Combine = void (*)(void* const (&operands)[kLanes]);
void collective(unsigned mask, void* operand, Combine combine, bool orders_memory, const Site& site);

// Checks on the bytes from an address in shared memory on.
void read_shared(const void* from, size_t bytes, const Site& site);
void write_shared(const void* to, size_t bytes, const Site& site);

// A copy reads its source at once, and writes when it arrives: when the thread waits for its group.
void begin_copy(void* to, const void* from, size_t bytes, bool valid, const Site& site);
void end_copy_group();
void wait_for_copies(unsigned groups_left);
// Before the thread ends.
void check_no_copies();
// After a fault.
void forget_shared();

}  // namespace standin
