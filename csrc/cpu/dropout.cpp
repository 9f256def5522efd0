#include "common/dropout.h"

#include "cpu/rows.h"
#include "cpu/run.h"
#include "cpu/simd/philox.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

constexpr int64_t kGrain = 1024;  // smallest number of items that a thread takes
constexpr int kBlock = PhiloxWords::kSize;

// out = dropout of n items, of which the first is item number `first`, a multiple of kBlock.
template <class T>
STEEPEST_HD void drop(const PhiloxStream& random, DropoutRule<T> rule, int64_t first, const T* x, T* out, int64_t n) {
    using V = Vec<T>;
    const V scale(rule.scale);
    int64_t e = 0;
    for (; e + kBlock <= n; e += kBlock) {
        const PhiloxWords words = random.words(first + e);
#pragma GCC unroll 4
        for (int q = 0; q < kBlock / V::kSize; ++q)
            words.zero_below(rule.threshold, q, scale * V::load(x + e + q * V::kSize)).store(out + e + q * V::kSize);
    }
    if (e == n) return;
    const PhiloxWords words = random.words(first + e);
#pragma GCC unroll 4
    for (int q = 0; q < kBlock / V::kSize; ++q) {
        const int64_t left = n - e - q * V::kSize;
        if (left <= 0) return;
        const int lanes = static_cast<int>(left < V::kSize ? left : V::kSize);
        const V items = V::load(x + e + q * V::kSize, lanes);
        words.zero_below(rule.threshold, q, scale * items).store(out + e + q * V::kSize, lanes);
    }
}

}  // namespace

template <class T>
void run(const ops::Dropout<T>& op, Team& team) {
    const PhiloxStream random(op.seed, static_cast<uint64_t>(op.stream.get()));
    const DropoutRule<T> rule(op.rate);
    const Range mine = team.split(op.x.rows * op.x.cols, kGrain);
    if (is_flat(op.x) && is_flat(op.out))
        return drop(random, rule, mine.begin, op.x.data + mine.begin, op.out.data + mine.begin, mine.end - mine.begin);
    // Blocks of random words do not end where rows do, so items are first copied together.
    alignas(64) T block[kBlock];
    for (int64_t e = mine.begin; e < mine.end; e += kBlock) {
        const int64_t n = mine.end - e < kBlock ? mine.end - e : kBlock;
        for (int64_t l = 0; l < n; ++l) block[l] = op.x((e + l) / op.x.cols, (e + l) % op.x.cols);
        drop(random, rule, e, block, block, n);
        for (int64_t l = 0; l < n; ++l) op.out((e + l) / op.x.cols, (e + l) % op.x.cols) = block[l];
    }
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest

STEEPEST_INSTANTIATE(Dropout)
