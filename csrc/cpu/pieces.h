// Pieces of a thread's scratch memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/macros.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

// Hands out the pieces of one block of memory, each aligned to 64 bytes.
class Pieces {
  public:
    explicit Pieces(void* memory) : at_(static_cast<char*>(memory)) {}

    template <class T>
    static size_t bytes(int64_t items) {
        return (static_cast<size_t>(items) * sizeof(T) + 63) / 64 * 64;
    }

    template <class T>
    T* take(int64_t items) {
        char* const taken = at_;
        at_ += bytes<T>(items);
        return reinterpret_cast<T*>(taken);
    }

  private:
    char* at_;
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
