#include <cmath>

#include "common/philox.h"
#include "cpu/run.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
void run(const ops::RandomUniform<T>& op, Team& team) {
    constexpr int kPerBlock = sizeof(T) == 4 ? 4 : 2;  // items made from one counter
    const Range mine = team.split(op.out.size, 1024);
    const double width = op.high - op.low;
    // Rounding low + width u to T may give high, which does not belong to the interval.
    const T high = static_cast<T>(op.high), below = static_cast<T>(std::nextafter(high, static_cast<T>(op.low)));
    for (int64_t i = mine.begin; i < mine.end; i += kPerBlock) {
        const Philox block = Philox::at(op.seed, op.stream, static_cast<uint64_t>(i / kPerBlock));
        for (int l = 0; l < kPerBlock && i + l < mine.end; ++l) {
            const double u = kPerBlock == 4 ? uniform_float(block.word[l]) : uniform_double(block.bits64(l & 1));
            const T number = static_cast<T>(op.low + width * u);
            op.out[i + l] = number == high ? below : number;
        }
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
