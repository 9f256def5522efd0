// A graph: the operations of a step, recorded once and run many times inside one parallel region.
#pragma once

#include <memory>
#include <vector>

#include "cpu/isa.h"
#include "cpu/thread_pool.h"

namespace steepest {

// The memory that an operation reads and writes.
struct Accesses {
    std::vector<ops::MemoryRange> reads, writes;
    bool uses_team_memory = false;

    template <class View>
    void read(const View& view) {
        add(reads, ops::memory_range(view));
    }
    template <class View>
    void write(const View& view) {
        add(writes, ops::memory_range(view));
    }
    void team_memory() { uses_team_memory = true; }

    void add(std::vector<ops::MemoryRange>& list, const ops::MemoryRange& range) {
        if (!range.empty()) list.push_back(range);
    }
    void append(const Accesses& other);
    // Whether one of two operations must wait for the other.
    bool conflicts_with(const Accesses& other) const;
};

// An estimate of an operation's time on one thread, which decides whether a second thread is worth waking.
double estimated_seconds(double flops, double bytes);

// Adds up the bytes of the arrays that an operation touches.
struct ByteCounter {
    double bytes = 0;

    template <class T>
    void read(const MatrixView<T>& m) {
        if (m.data) bytes += static_cast<double>(sizeof(T)) * m.rows * m.cols;
    }
    template <class T>
    void read(const VectorView<T>& v) {
        if (v.data) bytes += static_cast<double>(sizeof(T)) * v.size;
    }
    template <class T>
    void read(const ScalarView<T>&) {}
    void read(const IntegerVectorView& v) { bytes += 8.0 * v.size; }
    template <class View>
    void write(const View& view) {
        read(view);
    }
    void team_memory() {}
};

// A few operations touch less than the arrays that they are given.
template <class Op>
double bytes_of(const Op& op) {
    if constexpr (requires { op.bytes(); }) return op.bytes();
    ByteCounter counter;
    op.visit(counter);
    return counter.bytes;
}

// The name in profiles, where it depends on more than the type.
template <class Op>
const char* name_of(const Op& op) {
    if constexpr (requires { op.name(); })
        return op.name();
    else
        return op.kName;
}

struct ReplayResult {
    int64_t steps = 0;  // steps that were completed
    bool interrupted = false;
    Failure failure;
};

struct OperationProfile {
    const char* name;
    double seconds, flops, bytes;  // of one call
};

class Graph {
  public:
    template <class Op>
    void add(Op op) {
        Accesses accesses;
        op.visit(accesses);
        const double flops = op.flops(), bytes = bytes_of(op);
        const char* name = name_of(op);
        const auto run = [](const void* p, Team& team) {
            const Op& recorded = *static_cast<const Op*>(p);
            kernel_of<Op> (*active_isa().kernels)(recorded, team);
        };
        add(std::make_shared<Op>(std::move(op)), run, name, flops, bytes, accesses);
    }

    size_t size() const { return operations_.size(); }
    std::vector<const char*> names() const;

    // Runs all operations n times. `interrupted` is asked a few times a second, by the calling thread, whether to stop.
    ReplayResult replay(int64_t n, bool (*interrupted)()) const;

    // Runs n times with a barrier after every operation, and times each.
    std::vector<OperationProfile> profile(int64_t n, ReplayResult& result) const;

  private:
    struct Operation {
        std::shared_ptr<const void> op;
        void (*run)(const void*, Team&);
        const char* name;
        double flops, bytes;
        bool barrier_before;
    };

    void add(std::shared_ptr<const void> op, void (*run)(const void*, Team&), const char* name, double flops,
             double bytes, const Accesses& accesses);
    int threads() const;

    std::vector<Operation> operations_;
    Accesses since_barrier_;  // what the operations since the last barrier touch
    double seconds_ = 0;      // the estimated time of one step
};

}  // namespace steepest
