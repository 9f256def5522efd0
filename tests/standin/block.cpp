#include "standin/block.h"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "standin/cuda.h"
#include "standin/fibre.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace standin {

Running running;

namespace {

struct Thread {
    enum State : uint8_t { kReady, kBarrier, kCollective, kEnded } state = kReady;
    Fibre* fibre = nullptr;  // while it runs or waits
    uint3 index = {};
    unsigned mask = 0;
    void* operand = nullptr;
    Site site;
};

// The threads that can run, in the order in which they will.
class Queue {
  public:
    bool empty() const { return begin_ == end_; }
    unsigned front() const { return ids_[begin_ % kSize]; }
    void pop() { ++begin_; }
    void push_front(unsigned id) { ids_[--begin_ % kSize] = static_cast<uint16_t>(id); }
    void assign(const std::vector<uint16_t>& ids) {
        std::copy(ids.begin(), ids.end(), ids_);
        begin_ = 0, end_ = static_cast<unsigned>(ids.size());
    }

  private:
    static constexpr unsigned kSize = 2 * kMaxThreads;
    uint16_t ids_[kSize];
    unsigned begin_ = 0, end_ = 0;
};

// One block runs at a time, in one thread of the host.
const std::function<void()>* kernel = nullptr;
Thread threads[kMaxThreads];
unsigned n_threads = 0, n_ended = 0;
Thread* current = nullptr;
Queue queue;
std::vector<uint16_t> thread_order;
uint8_t lane_order[kLanes];
unsigned waiting_lanes[kMaxThreads / kLanes];

struct {
    unsigned arrived = 0;
    int votes = 0, result = 0;
    Site site;
} block_barrier;

std::string fault;

Fibre host;
std::deque<Fibre> fibres;  // a deque: their addresses stay
std::vector<Fibre*> idle_fibres;
Fibre* starting = nullptr;

bool same(const Site& a, const Site& b) {
    return a.line() == b.line() && a.column() == b.column() &&
           (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

std::string text_of(const uint3& i) {
    return "(" + std::to_string(i.x) + "," + std::to_string(i.y) + "," + std::to_string(i.z) + ")";
}

// "thread 3", "threads 0..31, 40"
std::string text_of(const std::vector<unsigned>& ids) {
    std::string text;
    for (size_t begin = 0, end = 0; begin < ids.size(); begin = end) {
        for (end = begin + 1; end < ids.size() && ids[end] == ids[end - 1] + 1;) ++end;
        text += (begin ? ", " : "") + std::to_string(ids[begin]);
        if (end - begin > 1) text += ".." + std::to_string(ids[end - 1]);
    }
    return (ids.size() == 1 ? "thread " : "threads ") + text;
}

std::string hexadecimal(unsigned mask) {
    char text[16];
    std::snprintf(text, sizeof text, "0x%08x", mask);
    return text;
}

std::string waits_for(const Thread& t) {
    if (t.state == Thread::kEnded) return "ended";
    if (t.state == Thread::kBarrier) return "wait for the barrier at " + place_of(t.site);
    return "wait for the lanes " + hexadecimal(t.mask) + " of their warp at " + place_of(t.site);
}

// No thread can go on: what each of them waits for.
std::string describe_deadlock() {
    std::vector<std::pair<std::string, std::vector<unsigned>>> groups;
    for (unsigned id = 0; id < n_threads; ++id) {
        const std::string what = waits_for(threads[id]);
        auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == what; });
        if (group == groups.end()) group = groups.insert(groups.end(), {what, {}});
        group->second.push_back(id);
    }
    std::string text;
    for (const auto& [what, ids] : groups) text += (text.empty() ? "" : "; ") + text_of(ids) + " " + what;
    return text;
}

void make_current(unsigned id) {
    current = &threads[id];
    threadIdx = current->index;
    running.thread = id;
}

void run_threads();

Fibre& idle_fibre() {
    if (idle_fibres.empty()) {
        idle_fibres.push_back(&fibres.emplace_back());
        begin_fibre(fibres.back(), run_threads);
    }
    starting = idle_fibres.back();
    idle_fibres.pop_back();
    return *starting;
}

// Where to go on when the current thread waits or has ended.
Fibre& next_fibre() {
    if (queue.empty()) return host;
    Fibre* const fibre = threads[queue.front()].fibre;
    if (!fibre) return idle_fibre();  // which takes the thread from the queue
    queue.pop();
    return *fibre;
}

// The life of a fibre. Threads that never wait follow one another on the same one.
void run_threads() {
    enter_fibre();
    Fibre* const self = starting;
    for (;;) {
        while (!queue.empty() && !threads[queue.front()].fibre) {
            const unsigned id = queue.front();
            queue.pop();
            make_current(id);
            current->fibre = self;
            std::string thrown;
            try {
                (*kernel)();
            } catch (const std::exception& e) {
                thrown = e.what();
            }
            if (!thrown.empty()) fail(thrown);
            check_no_copies();
            current->state = Thread::kEnded;
            ++n_ended;
        }
        idle_fibres.push_back(self);
        switch_fibre(*self, next_fibre());
    }
}

// Lets others run until this thread can go on.
void wait() {
    const unsigned id = running.thread;
    Fibre& self = *current->fibre;
    Fibre& next = next_fibre();
    if (&next != &self) switch_fibre(self, next);
    make_current(id);
}

enum class Order { kAscending, kDescending, kShuffled };

Order order_of_environment() {
    const char* const name = std::getenv("STANDIN_ORDER");
    if (!name || !*name || !std::strcmp(name, "ascending")) return Order::kAscending;
    if (!std::strcmp(name, "descending")) return Order::kDescending;
    if (!std::strcmp(name, "shuffled")) return Order::kShuffled;
    throw Fault(std::string("[cuda stand-in] STANDIN_ORDER is ") + name +
                "; it must be ascending, descending or shuffled");
}

template <class Numbers>
void arrange(Numbers& numbers, Order order, std::minstd_rand& random) {
    for (size_t i = 0; i < std::size(numbers); ++i) numbers[i] = static_cast<std::decay_t<decltype(numbers[0])>>(i);
    if (order == Order::kDescending) std::reverse(std::begin(numbers), std::end(numbers));
    if (order == Order::kShuffled) std::shuffle(std::begin(numbers), std::end(numbers), random);
}

// Whole warps follow one another.
void arrange_threads(Order order, std::minstd_rand& random) {
    std::vector<unsigned> warps((n_threads + kLanes - 1) / kLanes);
    arrange(warps, order, random);
    arrange(lane_order, order, random);
    thread_order.clear();
    for (const unsigned w : warps)
        for (const unsigned l : lane_order)
            if (w * kLanes + l < n_threads) thread_order.push_back(static_cast<uint16_t>(w * kLanes + l));
}

void abandon_block() {
    idle_fibres.clear();
    for (Fibre& f : fibres) {
        begin_fibre(f, run_threads);
        idle_fibres.push_back(&f);
    }
    forget_shared();
}

void run_block() {
    if (running.now > UINT32_MAX / 2) forget_shared();
    running.block_began = running.last_barrier = ++running.now;
    block_barrier = {};
    n_ended = 0;
    std::fill(std::begin(waiting_lanes), std::end(waiting_lanes), 0);
    for (unsigned id = 0; id < n_threads; ++id) threads[id].state = Thread::kReady, threads[id].fibre = nullptr;
    queue.assign(thread_order);
    switch_fibre(host, next_fibre());
    current = nullptr;
    if (fault.empty() && n_ended != n_threads) fault = describe_deadlock();
    if (fault.empty()) return;
    abandon_block();
    throw Fault("[cuda stand-in] block " + text_of(blockIdx) + ": " + std::exchange(fault, {}));
}

void run_grid(dim3 grid, dim3 block, size_t bytes, const std::function<void()>& body) {
    static std::minstd_rand random;
    const Order order = order_of_environment();
    kernel = &body;
    gridDim = grid, blockDim = block;
    n_threads = block.x * block.y * block.z;
    running.shared_bytes = bytes;
    for (unsigned id = 0; id < n_threads; ++id)
        threads[id].index = {id % block.x, id / block.x % block.y, id / (block.x * block.y)};
    arrange_threads(order, random);
    const uint64_t n_blocks = uint64_t{1} * grid.x * grid.y * grid.z;
    std::vector<uint32_t> shuffled(order == Order::kShuffled ? n_blocks : 0);
    arrange(shuffled, order, random);
    for (uint64_t i = 0; i < n_blocks; ++i) {
        const uint64_t b = order == Order::kShuffled ? shuffled[i] : order == Order::kDescending ? n_blocks - 1 - i : i;
        blockIdx = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                    static_cast<unsigned>(b / grid.x / grid.y)};
        run_block();
    }
}

}  // namespace

std::string place_of(const Site& site) {
    const char* const slash = std::strrchr(site.file_name(), '/');
    return std::string(slash ? slash + 1 : site.file_name()) + ":" + std::to_string(site.line());
}

void fail(const std::string& text) {
    if (!current) throw Fault("[cuda stand-in] " + text);
    fault = text;
    switch_fibre(*current->fibre, host);
    std::abort();  // nothing switches back
}

int barrier(bool vote, const Site& site) {
    auto& b = block_barrier;
    if (b.arrived == 0) {
        b.site = site, b.votes = 0;
    } else if (!same(b.site, site)) {
        std::vector<unsigned> there;
        for (unsigned id = 0; id < n_threads; ++id)
            if (threads[id].state == Thread::kBarrier) there.push_back(id);
        fail("thread " + std::to_string(running.thread) + " is at the barrier at " + place_of(site) + ", while " +
             text_of(there) + " wait for the barrier at " + place_of(b.site));
    }
    b.votes += vote;
    current->state = Thread::kBarrier;
    current->site = site;
    if (++b.arrived == n_threads) {
        b.result = b.votes;
        b.arrived = 0;
        running.last_barrier = ++running.now;
        for (unsigned id = 0; id < n_threads; ++id) threads[id].state = Thread::kReady;
        queue.assign(thread_order);
    }
    wait();
    return b.result;
}

void collective(unsigned mask, void* operand, Combine combine, bool orders_memory, const Site& site) {
    const unsigned warp = running.thread / kLanes, first = warp * kLanes;
    if (!(mask >> lane() & 1))
        fail("thread " + std::to_string(running.thread) + " is lane " + std::to_string(lane()) + ", which the mask " +
             hexadecimal(mask) + " at " + place_of(site) + " does not name");
    current->state = Thread::kCollective;
    current->site = site, current->mask = mask, current->operand = operand;
    unsigned& waiting = waiting_lanes[warp];
    waiting |= 1u << lane();
    bool complete = (waiting & mask) == mask;
    void* operands[kLanes];
    if (complete) std::fill(std::begin(operands), std::end(operands), nullptr);
    for (int l = 0; complete && l < kLanes; ++l) {
        if (!(mask >> l & 1)) continue;
        const Thread& t = threads[first + l];
        complete = t.mask == mask && same(t.site, site);
        operands[l] = t.operand;
    }
    if (complete) {
        if (combine) combine(operands);
        if (orders_memory && mask == ~0u) running.last_warp_barrier[warp] = ++running.now;
        waiting &= ~mask;
        for (int i = kLanes - 1; i >= 0; --i) {
            const unsigned l = lane_order[i];
            if (!(mask >> l & 1)) continue;
            threads[first + l].state = Thread::kReady;
            queue.push_front(first + l);
        }
    }
    wait();
}

void launch(cudaStream_t stream, dim3 grid, dim3 block, size_t bytes, std::function<void()> body) {
    const auto reject = [](const std::string& what) { throw Fault("[cuda stand-in] cannot launch: " + what); };
    const uint64_t n = uint64_t{1} * block.x * block.y * block.z;
    if (n == 0 || n > kMaxThreads || block.z > 64) reject("blocks of " + std::to_string(n) + " threads");
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535)
        reject("a grid of " + text_of(uint3{grid.x, grid.y, grid.z}) + " blocks");
    if (bytes > kMaxSharedBytes)
        reject(std::to_string(bytes) + " bytes of shared memory a block; the device has " +
               std::to_string(kMaxSharedBytes));
    submit(stream, [=] { run_grid(grid, block, bytes, body); });
}

}  // namespace standin
