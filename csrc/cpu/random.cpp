#include "common/philox.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::RandomUniform<T>& op, Team& team) {
    constexpr int kPerCounter = UniformInterval<T>::kPerCounter;
    const UniformInterval<T> uniform(op.low, op.high);
    const Range mine = team.split(op.out.size, 1024);
    for (int64_t i = mine.begin; i < mine.end; i += kPerCounter) {
        const Philox words = Philox::at(op.seed, op.stream, static_cast<uint64_t>(i / kPerCounter));
        for (int l = 0; l < kPerCounter && i + l < mine.end; ++l) op.out[i + l] = uniform(words, l);
    }
}

void run(const ops::RandomBits& op, Team& team) {
    const Range mine = team.split(op.out.size, 1024);
    for (int64_t i = mine.begin; i < mine.end; i += 2) {
        const Philox block = Philox::at(op.seed, op.stream, static_cast<uint64_t>(i / 2));
        op.out[i] = block.bits64(0);
        if (i + 1 < mine.end) op.out[i + 1] = block.bits64(1);
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(RandomUniform)
