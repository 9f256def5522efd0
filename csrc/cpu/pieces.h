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
    explicit Pieces(void* memory = nullptr)
        : begin_(reinterpret_cast<uintptr_t>(memory)), at_(reinterpret_cast<uintptr_t>(memory)) {}

    template <class T>
    static size_t bytes(int64_t items) {
        return (static_cast<size_t>(items) * sizeof(T) + 63) / 64 * 64;
    }

    template <class T>
    T* take(int64_t items) {
        T* const taken = reinterpret_cast<T*>(at_);
        at_ += bytes<T>(items);
        return taken;
    }

    size_t used() const { return at_ - begin_; }

  private:
    uintptr_t begin_, at_;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
