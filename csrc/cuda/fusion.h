// Fuses the operations that a graph recorded into fewer launches, with bit-identical results.
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
    bool may_fail;  // whether invalid data can make it fail
    const char* name;
    double flops, bytes;  // for profiles
};

using Launches = std::vector<std::function<void(Stream&)>>;

// Two kinds of fusion:
//   * The product that gives d_w moves to the update that needs it, and also makes the update, for all layers in one
//     launch. No operation in between may read d_w, write what the product reads, or fail.
//   * Operations on single numbers join earlier ones. No operation in between may use these numbers or fail, so that a
//     failure leaves them as it would without fusion.
// The last launch increments the step counter of the replay.
Launches fuse(const std::vector<Recorded>& operations, const Device& device);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
