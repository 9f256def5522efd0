// Pieces of a thread's scratch memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/macros.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Takes pieces one after the other, each aligned to a line of the cache. Without memory, it only counts them.
class Pieces {
  public:
    explicit Pieces(void* memory = nullptr) : memory_(static_cast<char*>(memory)) {}

    template <class T>
    static size_t bytes(int64_t items) {
        return (static_cast<size_t>(items) * sizeof(T) + 63) / 64 * 64;
    }

    template <class T>
    T* take(int64_t items) {
        char* const taken = memory_ ? memory_ + used_ : nullptr;
        used_ += bytes<T>(items);
        return reinterpret_cast<T*>(taken);
    }

    size_t used() const { return used_; }

  private:
    char* memory_;
    size_t used_ = 0;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
