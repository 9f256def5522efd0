// From the operations that a graph recorded to fewer launches that leave the same bits in memory.
#pragma once

#include <any>
#include <functional>
#include <vector>

#include "cuda/stream.h"
#include "ops/accesses.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

struct Recorded {
    std::any op;
    std::function<void(Stream&)> launch;
    ops::Accesses accesses;
    bool may_fail;  // on account of the data
    const char* name;
    double flops, bytes;  // for profiles
};

using Launches = std::vector<std::function<void(Stream&)>>;

// Two rewritings:
//   * the product that gives d_w waits until the update that needs it, and makes the update itself, for all layers in
//     one launch; where nothing in between reads d_w, writes what the product reads, or may fail;
//   * operations on single numbers join the ones before them, where nothing in between touches those numbers or may
//     fail, so that after a failure they stand as they would without.
// The last launch counts the step.
Launches fuse(const std::vector<Recorded>& operations, const Device& device);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
