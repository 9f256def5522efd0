// Kernels with which test_standin.py tests the stand-in itself: right ones, and ones with a fault each.
#include <pybind11/numpy.h>

#include <map>
#include <string>

#include "cuda/device/copy_async.cuh"
#include "cuda/device/last_block.cuh"
#include "cuda/device/mma.cuh"
#include "standin/selftest.h"

namespace py = pybind11;

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int kThreads = 128;

template <int N>
struct Floats {
    SharedArray<float, N> x, y;
};

// Launches, and waits for the end.
void launch(dim3 grid, dim3 block, size_t shared_bytes, std::function<void()> kernel) {
    standin::launch(nullptr, grid, block, shared_bytes, std::move(kernel));
    cudaStreamSynchronize(nullptr);
}

// The threads of one block run body(thread).
template <class Memory, class Body>
void run_block(int threads, Body body) {
    launch(dim3(1), dim3(threads), sizeof(Memory),
           [=] { body(static_cast<int>(threadIdx.x), shared_memory<Memory>()); });
}

using Memory = Floats<kThreads>;

// ------------------------------------------------------------------------------------------------ planted faults

const std::map<std::string, void (*)()> kFaults = {
    {"race_read",
     [] {
         run_block<Memory>(kThreads, [](int t, Memory& m) {
             m.x[t] = 1;
             m.y[t] = m.x[(t + 32) % kThreads];  // no barrier before
         });
     }},
    {"race_overwrite",
     [] {
         run_block<Memory>(kThreads, [](int t, Memory& m) {
             m.x[t] = 1;
             __syncthreads();
             const float next = m.x[(t + 1) % kThreads];
             m.x[t] = next;  // no barrier before
         });
     }},
    {"race_write", [] { run_block<Memory>(kThreads, [](int t, Memory& m) { m.x[t / 2] = 1; }); }},
    {"race_after_shuffle",
     [] {
         run_block<Memory>(32, [](int t, Memory& m) {
             m.x[t] = 1;
             __shfl_xor_sync(kAllLanes, t, 1);  // orders no memory, as __syncwarp would
             m.y[t] = m.x[31 - t];
         });
     }},
    {"ended_before_barrier",
     [] {
         run_block<Memory>(kThreads, [](int t, Memory&) {
             if (t < 96) __syncthreads();
         });
     }},
    {"divergent_barrier",
     [] {
         run_block<Memory>(kThreads, [](int t, Memory&) {
             if (t < 32)
                 __syncthreads();
             else
                 __syncthreads();
         });
     }},
    {"barrier_or_shuffle",
     [] {
         run_block<Memory>(kThreads, [](int t, Memory&) {
             if (t % 32 == 0)
                 __syncthreads();
             else
                 __shfl_xor_sync(kAllLanes, t, 1);
         });
     }},
    {"index_past_end", [] { run_block<Memory>(kThreads, [](int t, Memory& m) { m.x[t + 1] = 1; }); }},
    {"index_negative", [] { run_block<Memory>(kThreads, [](int t, Memory& m) { m.y[t - 1] = 1; }); }},
    {"vector_past_end",
     [] { run_block<Memory>(kThreads, [](int t, Memory& m) { store_shared<4>(m.x, 4 * t, Vector<float, 4>{}); }); }},
    {"vector_misaligned",
     [] { run_block<Memory>(1, [](int, Memory& m) { store_shared<4>(m.x, 2, Vector<float, 4>{}); }); }},
    {"too_little_shared", [] { launch(dim3(1), dim3(1), 64, [] { shared_memory<Memory>().x[0] = 1; }); }},
    {"never_written",
     [] {
         run_block<Memory>(kThreads, [](int t, Memory& m) {
             if (t != 77) m.x[t] = 1;
             __syncthreads();
             m.y[t] = m.x[t];
         });
     }},
    {"written_by_earlier_block",
     [] {
         launch(dim3(2), dim3(1), sizeof(Memory), [] {
             Memory& m = shared_memory<Memory>();
             if (blockIdx.x == 0)
                 m.x[0] = 1;
             else
                 m.y[0] = m.x[0];
         });
     }},
    {"lane_missing",
     [] {
         run_block<Memory>(64, [](int t, Memory&) {
             if (t != 40) __shfl_down_sync(kAllLanes, t, 1);
         });
     }},
    {"lane_not_in_mask", [] { run_block<Memory>(32, [](int t, Memory&) { __shfl_xor_sync(0xffffu, t, 1); }); }},
    {"source_not_in_mask",
     [] {
         run_block<Memory>(32, [](int t, Memory&) {
             if (t < 16) __shfl_sync(0xffffu, t, 20);
         });
     }},
    {"masks_differ",
     [] { run_block<Memory>(32, [](int t, Memory&) { __ballot_sync(t < 16 ? kAllLanes : 0xffff0000u, 1); }); }},
    {"copy_read_early",
     [] {
         static const float zeros[kThreads] = {};
         run_block<Memory>(kThreads, [](int t, Memory& m) {
             copy_async<1>(m.x, t, zeros + t, true);
             copy_async_commit();
             copy_async<1>(m.y, t, zeros + t, true);
             copy_async_commit();
             copy_async_wait<1>();
             m.x[t] = m.y[t];  // of the last group, which may be on its way
         });
     }},
    {"copy_read_by_another",
     [] {
         static const float zeros[kThreads] = {};
         run_block<Memory>(kThreads, [](int t, Memory& m) {
             copy_async<1>(m.x, t, zeros + t, true);
             copy_async_commit();
             copy_async_wait<0>();
             m.y[t] = m.x[t ^ 1];  // no barrier before
         });
     }},
    {"copy_into_use",
     [] {
         static const float zeros[kThreads] = {};
         run_block<Memory>(kThreads, [](int t, Memory& m) {
             m.x[t] = 1;
             __syncthreads();
             m.y[t] = m.x[t ^ 1];
             copy_async<1>(m.x, t, zeros + t, true);  // no barrier before
             copy_async_commit();
             copy_async_wait<0>();
         });
     }},
    {"copy_not_committed",
     [] {
         static const float zeros[kThreads] = {};
         run_block<Memory>(kThreads, [](int t, Memory& m) {
             copy_async<1>(m.x, t, zeros + t, true);
             copy_async_wait<0>();
         });
     }},
    {"copy_misaligned",
     [] {
         alignas(16) static const float zeros[8] = {};
         run_block<Memory>(1, [](int, Memory& m) { copy_async<4>(m.x, 0, zeros + 1, true); });
     }},
    {"no_threads", [] { launch(dim3(1), dim3(0), 0, [] {}); }},
    {"too_many_threads", [] { launch(dim3(1), dim3(32, 33), 0, [] {}); }},
    {"grid_too_high", [] { launch(dim3(1, 65536), dim3(1), 0, [] {}); }},
    {"too_much_shared", [] { launch(dim3(1), dim3(1), 100 << 10, [] {}); }},
};

// ------------------------------------------------------------------------------------------------- right kernels

using Array = py::array_t<double, py::array::c_style | py::array::forcecast>;
using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;

// One sum for each run of kThreads items, by a tree in shared memory.
Array block_sums(const Array& x) {
    Array out(x.size() / kThreads);
    struct Tree {
        SharedArray<double, kThreads> node;
    };
    launch(dim3(static_cast<unsigned>(out.size())), dim3(kThreads), sizeof(Tree),
           [from = x.data(), to = out.mutable_data()] {
               Tree& tree = shared_memory<Tree>();
               const unsigned t = threadIdx.x;
               tree.node[t] = from[blockIdx.x * kThreads + t];
               for (unsigned half = kThreads / 2; half > 0; half /= 2) {
                   __syncthreads();
                   if (t < half) tree.node[t] += tree.node[t + half];
               }
               if (t == 0) to[blockIdx.x] = tree.node[0];
           });
    return out;
}

// The sum of all items over a grid, as the library makes it.
double grid_sum(const Array& x, unsigned blocks) {
    static unsigned ticket = 0;
    std::vector<double> partial(blocks);
    double result = 0;
    using Sums = GridSumMemory<kThreads>;
    launch(dim3(blocks), dim3(kThreads), sizeof(Sums),
           [&result, n = x.size(), from = x.data(), partial = partial.data()] {
               double value = 0;
               const unsigned step = gridDim.x * kThreads;
               for (unsigned i = blockIdx.x * kThreads + threadIdx.x; i < n; i += step) value += from[i];
               if (sum_over_grid<kThreads>(value, partial, &ticket, shared_memory<Sums>()) && threadIdx.x == 0)
                   result = value;
           });
    return result;
}

// What each lane of two warps gets from the collectives, a row each.
py::array_t<int> warp_collectives() {
    constexpr int kRows = 9;
    py::array_t<int> out({kRows, 64});
    launch(dim3(1), dim3(64), 0, [to = out.mutable_data()] {
        const int t = static_cast<int>(threadIdx.x), lane = t % kWarp;
        int row = 0;
        const auto put = [&](int value) { to[row++ * 64 + t] = value; };
        put(__shfl_sync(kAllLanes, t, 5));
        put(__shfl_sync(kAllLanes, t, lane + 1, 8));
        put(__shfl_xor_sync(kAllLanes, t, 3));
        put(__shfl_down_sync(kAllLanes, t, 2, 16));
        put(__shfl_up_sync(kAllLanes, t, 2, 16));
        put(static_cast<int>(__ballot_sync(kAllLanes, lane % 3 == 0)));
        put(__any_sync(kAllLanes, t == 40) + 2 * __all_sync(kAllLanes, t < 32));
        // The halves of a warp, each on its own.
        put(lane < 16 ? __shfl_xor_sync(0xffffu, t, 1) : __shfl_xor_sync(0xffff0000u, t, 2));
        put(__syncthreads_count(t < 10) + 100 * __syncthreads_or(t == 63) + 1000 * __syncthreads_and(t > 0));
    });
    return out;
}

// Neighbours within a warp exchange items with no block barrier.
Array reverse_warps(const Array& x) {
    Array out(x.size());
    struct Items {
        SharedArray<double, 256> x;
    };
    launch(dim3(1), dim3(static_cast<unsigned>(x.size())), sizeof(Items), [from = x.data(), to = out.mutable_data()] {
        Items& items = shared_memory<Items>();
        const unsigned t = threadIdx.x;
        for (int twice = 0; twice < 2; ++twice) {
            items.x[t] = from[t] + twice;
            __syncwarp();
            to[t] = items.x[t ^ 31];
            __syncwarp();
        }
    });
    return out;
}

// (16, k) @ (k, 8), with k 8 for tf32 and 16 for bfloat16.
FloatArray multiply(const FloatArray& a, const FloatArray& b, bool bfloat16) {
    FloatArray out({16, 8});
    launch(dim3(1), dim3(32), 0, [=, a = a.data(), b = b.data(), to = out.mutable_data()] {
        const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
        float d[4] = {};
        uint32_t left[4], right[2];
        if (bfloat16) {
            const auto pair = [](const float* at, int step) { return pack_bf16(at[0], at[step]); };
            for (int r = 0; r < 4; ++r) left[r] = pair(a + (g + r % 2 * 8) * 16 + 2 * t + r / 2 * 8, 1);
            for (int r = 0; r < 2; ++r) right[r] = pair(b + (2 * t + r * 8) * 8 + g, 8);
            mma_bf16(d, left, right);
        } else {
            for (int r = 0; r < 4; ++r) left[r] = round_to_tf32(a[(g + r % 2 * 8) * 8 + t + r / 2 * 4]);
            for (int r = 0; r < 2; ++r) right[r] = round_to_tf32(b[(t + r * 4) * 8 + g]);
            mma_tf32(d, left, right);
        }
        for (int r = 0; r < 4; ++r) to[(g + r / 2 * 8) * 8 + 2 * t + r % 2] = d[r];
    });
    return out;
}

// Sums of columns of an (n, 128) matrix, whose rows come through two buffers; past the last, zeros.
FloatArray column_sums(const FloatArray& x, int rows) {
    FloatArray out(kThreads);
    struct Buffers {
        SharedArray<float, 2 * kThreads> row;
    };
    launch(dim3(1), dim3(kThreads), sizeof(Buffers),
           [rows, valid = x.size() / kThreads, from = x.data(), to = out.mutable_data()] {
               auto& row = shared_memory<Buffers>().row;
               const int t = static_cast<int>(threadIdx.x);
               const auto fetch = [&](int r) {
                   if (t < kThreads / 4 && r < rows)
                       copy_async<4>(row, r % 2 * kThreads + 4 * t, from + r * kThreads + 4 * t, r < valid);
                   copy_async_commit();
               };
               float sum = 0;
               fetch(0);
               for (int r = 0; r < rows; ++r) {
                   fetch(r + 1);
                   copy_async_wait<1>();
                   __syncthreads();
                   sum += row[r % 2 * kThreads + t];
                   __syncthreads();
               }
               to[t] = sum;
           });
    return out;
}

// A kernel that does nothing but meet `barriers` times, or exchange items of shared memory so often, for timing.
void spin(unsigned blocks, unsigned threads, int barriers, int exchanges) {
    struct Items {
        SharedArray<float, 1024> x;
    };
    launch(dim3(blocks), dim3(threads), sizeof(Items), [=] {
        auto& x = shared_memory<Items>().x;
        for (int i = 0; i < barriers; ++i) __syncthreads();
        x[threadIdx.x] = 0;
        for (int i = 0; i < exchanges; ++i) x[threadIdx.x] += 1;
    });
}

}  // namespace

void export_selftest(py::module_ m) {
    m.def("read_device_memory", [] {
        void* memory = nullptr;
        cudaMalloc(&memory, sizeof(int));
        return *static_cast<const volatile int*>(memory);
    });
    m.def("fault_names", [] {
        py::list names;
        for (const auto& [name, run] : kFaults) names.append(name);
        return names;
    });
    m.def("run_fault", [](const std::string& name) { kFaults.at(name)(); });
    m.def("block_sums", &block_sums);
    m.def("grid_sum", &grid_sum);
    m.def("warp_collectives", &warp_collectives);
    m.def("reverse_warps", &reverse_warps);
    m.def("multiply", &multiply);
    m.def("column_sums", &column_sums);
    m.def("spin", &spin);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
