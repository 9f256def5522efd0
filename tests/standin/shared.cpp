#include <vector>

#include "standin/block.h"

namespace standin {

alignas(128) unsigned char shared_bytes[kMaxSharedBytes];

namespace {

constexpr size_t kGrain = 4;

// Who reads or wrote: a thread, several threads of a warp, or threads of several warps.
constexpr unsigned kLanesOfWarp = kMaxThreads, kThreads = kLanesOfWarp + kMaxThreads / kLanes;

unsigned warp_of(unsigned who) { return who < kLanesOfWarp ? who / kLanes : who - kLanesOfWarp; }

// What was done last to kGrain bytes of shared memory.
struct Record {
    uint32_t written = 0, read = 0;  // when
    uint16_t writer = 0, reader = 0;
    uint16_t copier = 0;  // 1 + the thread whose copy will arrive here
    Site write_site, read_site;
};

Record records[kMaxSharedBytes / kGrain];

struct Copy {
    uint32_t begin;  // offset of its first byte
    unsigned group;
    Site site;
    uint8_t bytes, data[16];
};

struct Copies {
    std::vector<Copy> in_flight;
    unsigned group = 0;  // that the next copy joins
};

Copies copies[kMaxThreads];

// The thread that runs, in registers: to a compiler, any record could be a part of `running`.
struct Self {
    uint32_t thread = running.thread, warp = thread / kLanes, now = running.now;
    uint32_t last_barrier = running.last_barrier, last_warp_barrier = running.last_warp_barrier[warp];

    // Whether what `who` did is over for this thread: it did so itself, or a barrier lies between.
    bool is_past(uint32_t when, unsigned who) const {
        return when < last_barrier || who == thread || (when < last_warp_barrier && warp_of(who) == warp);
    }
};

std::string text_of_thread(unsigned who) {
    if (who < kLanesOfWarp) return "thread " + std::to_string(who);
    return who < kThreads ? "several threads of warp " + std::to_string(warp_of(who)) : "several threads";
}

[[noreturn, gnu::cold]] void fail_at(size_t offset, const Site& site, const char* does, const std::string& problem) {
    fail("thread " + std::to_string(running.thread) + " " + does + " bytes " + std::to_string(offset) + ".." +
         std::to_string(offset + kGrain - 1) + " of shared memory at " + place_of(site) + ", " + problem);
}

[[noreturn, gnu::cold]] void fail_race(size_t offset, const Site& site, const char* does, unsigned who,
                                       const Site& where, const char* did) {
    fail_at(offset, site, does,
            "which " + text_of_thread(who) + " " + did + " at " + place_of(where) + ": no barrier lies between");
}

[[noreturn, gnu::cold]] void fail_copy(const Record& r, size_t offset, const Site& site, const char* does) {
    fail_at(
        offset, site, does,
        "to which the copy of " + text_of_thread(r.copier - 1u) + " at " + place_of(r.write_site) + " is on its way");
}

[[noreturn, gnu::cold]] void fail_place(size_t offset, size_t bytes, const Site& site) {
    const std::string who = "thread " + std::to_string(running.thread);
    if (offset + bytes > running.shared_bytes || offset > running.shared_bytes)
        fail(who + " leaves the shared memory of its block at " + place_of(site));
    fail(who + " misaligns an access of " + std::to_string(bytes) + " bytes to shared memory at " + place_of(site));
}

inline size_t offset_of(const void* address, size_t bytes, const Site& site) {
    const size_t offset = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(shared_bytes);
    const size_t largest_power = bytes & -bytes, alignment = largest_power < 16 ? largest_power : 16;
    if (offset + bytes > running.shared_bytes || offset > running.shared_bytes || (offset & (alignment - 1)) != 0)
        fail_place(offset, bytes, site);
    return offset;
}

inline void check_write(const Record& r, const Self& self, size_t at, const Site& site) {
    if (r.copier) fail_copy(r, at, site, "writes");
    if (!self.is_past(r.written, r.writer)) fail_race(at, site, "writes", r.writer, r.write_site, "wrote");
    if (!self.is_past(r.read, r.reader)) fail_race(at, site, "writes", r.reader, r.read_site, "read");
}

inline void note_write(Record& r, const Self& self, const Site& site) {
    r.written = self.now, r.writer = static_cast<uint16_t>(self.thread), r.write_site = site;
    r.read = 0;  // the reads before it are past for whoever finds this write past
}

}  // namespace

void read_shared(const void* from, size_t bytes, const Site& site) {
    const size_t begin = offset_of(from, bytes, site);
    const Self self;
    const uint32_t block_began = running.block_began;
    for (size_t at = begin; at < begin + bytes; at += kGrain) {
        Record& r = records[at / kGrain];
        if (r.copier) fail_copy(r, at, site, "reads");
        if (r.written < block_began) fail_at(at, site, "reads", "which no thread of the block wrote");
        if (!self.is_past(r.written, r.writer)) fail_race(at, site, "reads", r.writer, r.write_site, "wrote");
        if (self.is_past(r.read, r.reader))
            r.reader = static_cast<uint16_t>(self.thread);
        else
            r.reader = static_cast<uint16_t>(warp_of(r.reader) == self.warp ? kLanesOfWarp + self.warp : kThreads);
        r.read = self.now, r.read_site = site;
    }
}

void write_shared(const void* to, size_t bytes, const Site& site) {
    const size_t begin = offset_of(to, bytes, site);
    const Self self;
    for (size_t at = begin; at < begin + bytes; at += kGrain) {
        Record& r = records[at / kGrain];
        check_write(r, self, at, site);
        note_write(r, self, site);
    }
}

void begin_copy(void* to, const void* from, size_t bytes, bool valid, const Site& site) {
    if (valid && reinterpret_cast<uintptr_t>(from) % bytes != 0)
        fail("thread " + std::to_string(running.thread) + " copies " + std::to_string(bytes) +
             " bytes from a misaligned address at " + place_of(site));
    const size_t begin = offset_of(to, bytes, site);
    const Self self;
    for (size_t at = begin; at < begin + bytes; at += kGrain) {
        Record& r = records[at / kGrain];
        check_write(r, self, at, site);
        r.copier = static_cast<uint16_t>(self.thread + 1), r.write_site = site;
    }
    Copies& mine = copies[self.thread];
    Copy& copy = mine.in_flight.emplace_back(
        Copy{static_cast<uint32_t>(begin), mine.group, site, static_cast<uint8_t>(bytes), {}});
    if (valid) std::memcpy(copy.data, from, bytes);
}

void end_copy_group() { ++copies[running.thread].group; }

void wait_for_copies(unsigned groups_left) {
    const Self self;
    Copies& mine = copies[self.thread];
    size_t arrived = 0;
    for (; arrived < mine.in_flight.size() && mine.in_flight[arrived].group + groups_left < mine.group; ++arrived) {
        const Copy& copy = mine.in_flight[arrived];
        std::memcpy(shared_bytes + copy.begin, copy.data, copy.bytes);
        for (size_t at = copy.begin; at < copy.begin + copy.bytes; at += kGrain) {
            records[at / kGrain].copier = 0;
            note_write(records[at / kGrain], self, copy.site);
        }
    }
    if (arrived == 0) return;
    mine.in_flight.erase(mine.in_flight.begin(), mine.in_flight.begin() + static_cast<std::ptrdiff_t>(arrived));
}

void check_no_copies() {
    const Copies& mine = copies[running.thread];
    if (!mine.in_flight.empty())
        fail("thread " + std::to_string(running.thread) + " ended before its copy of " +
             place_of(mine.in_flight.front().site) + " arrived");
}

void forget_shared() {
    for (Record& r : records) r = {};
    for (Copies& c : copies) c = {};
    running.now = running.block_began = running.last_barrier = 1;
    for (uint32_t& time : running.last_warp_barrier) time = 0;
}

}  // namespace standin
