// A graph: the operations of a step, recorded once and run many times inside one parallel region.
#pragma once

#include <memory>
#include <vector>

#include "cpu/isa.h"
#include "cpu/thread_pool.h"
#include "ops/accesses.h"
#include "ops/profile.h"

namespace steepest {

// An estimate of an operation's time on one thread, used to decide whether waking a second thread pays.
double estimated_seconds(double flops, double bytes);

class Graph {
  public:
    template <class Op>
    void add(Op op) {
        const ops::Accesses accesses = ops::accesses_of(op);
        const double flops = op.flops(), bytes = ops::bytes_of(op);
        const char* name = ops::name_of(op);
        const auto run = [](const void* p, Team& team) {
            const Op& recorded = *static_cast<const Op*>(p);
            kernel_of<Op> (*active_isa().kernels)(recorded, team);
        };
        add(std::make_shared<Op>(std::move(op)), run, name, flops, bytes, accesses);
    }

    size_t size() const { return operations_.size(); }
    std::vector<const char*> names() const;

    // Runs all operations n times. The calling thread calls `interrupted` a few times a second; if it returns true, the
    // replay stops.
    ops::ReplayResult replay(int64_t n, bool (*interrupted)()) const;

    // Runs n times with a barrier after every operation, and times each; `interrupted` is that of replay().
    std::vector<ops::OperationProfile> profile(int64_t n, bool (*interrupted)(), ops::ReplayResult& result) const;

    // The estimated time of one step on one thread.
    double seconds() const { return seconds_; }

  private:
    struct Operation {
        std::shared_ptr<const void> op;
        void (*run)(const void*, Team&);
        const char* name;
        double flops, bytes;
        bool barrier_before;
    };

    void add(std::shared_ptr<const void> op, void (*run)(const void*, Team&), const char* name, double flops,
             double bytes, const ops::Accesses& accesses);
    int threads() const;

    std::vector<Operation> operations_;
    ops::Accesses since_barrier_;  // the memory that operations use since the last barrier
    double seconds_ = 0;
};

}  // namespace steepest
