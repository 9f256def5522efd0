#include "cpu/bfloat16.h"

#include <bit>
#include <stdexcept>
#include <utility>

#if defined(STEEPEST_HAVE_X86)
#include <cpuid.h>
#include <immintrin.h>
#endif
#if defined(STEEPEST_HAVE_X86) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#define STEEPEST_HAVE_AMX
#endif

namespace steepest {
namespace {

float widened(uint16_t item) { return std::bit_cast<float>(static_cast<uint32_t>(item) << 16); }

// The definition of multiply(), for tests on any processor.
void multiply_emulated(int rows, int64_t depth, const uint16_t* a, const uint16_t* b, float* c, bool accumulate) {
    for (int i = 0; i < rows; ++i) {
        float sum[kPanelCols] = {};
        for (int64_t p = 0; p < depth; p += 2) {
            const float first = widened(a[i * depth + p]), second = widened(a[i * depth + p + 1]);
            const uint16_t* const pairs = b + p * kPanelCols;
            for (int j = 0; j < kPanelCols; ++j) {
                const float sum_of_first = sum[j] + first * widened(pairs[2 * j]);
                sum[j] = sum_of_first + second * widened(pairs[2 * j + 1]);
            }
        }
        float* const row = c + i * kPanelCols;
        for (int j = 0; j < kPanelCols; ++j) row[j] = accumulate ? row[j] + sum[j] : sum[j];
    }
}

constexpr Bfloat16Unit kEmulated{"emulated", 32, 16, true, &multiply_emulated, nullptr, nullptr};

#if defined(STEEPEST_HAVE_X86)

#define STEEPEST_DOT_TARGET __attribute__((target("avx512f,avx512bf16")))
constexpr int kDotRows = 14;  // with two vectors each, the accumulators of the float32 product's tile

template <int Rows>
STEEPEST_DOT_TARGET void multiply_dots(int64_t depth, const uint16_t* a, const uint16_t* b, float* c, bool accumulate) {
    __m512 sum[Rows][2];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) sum[i][0] = sum[i][1] = _mm512_setzero_ps();

    // Three rows of a share a base pointer: base, base + depth and base + 2 depth are each one addressing mode.
    constexpr int kBases = (Rows + 2) / 3;
    const uint16_t* base[kBases];
#pragma GCC unroll 8
    for (int g = 0; g < kBases; ++g) base[g] = a + 3 * g * depth;

    for (int64_t p = 0; p < depth; p += 2) {
        const __m512bh low = (__m512bh)_mm512_loadu_si512(b), high = (__m512bh)_mm512_loadu_si512(b + 32);
        b += 2 * kPanelCols;
#pragma GCC unroll 16
        for (int i = 0; i < Rows; ++i) {
            int pair;
            __builtin_memcpy(&pair, base[i / 3] + (i % 3) * depth, sizeof(pair));
            const __m512bh item = (__m512bh)_mm512_set1_epi32(pair);
            sum[i][0] = _mm512_dpbf16_ps(sum[i][0], item, low);
            sum[i][1] = _mm512_dpbf16_ps(sum[i][1], item, high);
        }
#pragma GCC unroll 8
        for (int g = 0; g < kBases; ++g) base[g] += 2;
    }
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i) {
        for (int j = 0; j < 2; ++j) {
            float* const at = c + i * kPanelCols + 16 * j;
            _mm512_storeu_ps(at, accumulate ? _mm512_add_ps(sum[i][j], _mm512_loadu_ps(at)) : sum[i][j]);
        }
    }
}

using DotKernel = void (*)(int64_t, const uint16_t*, const uint16_t*, float*, bool);

template <class>
struct DotKernels;
template <int... Rows>
struct DotKernels<std::integer_sequence<int, Rows...>> {
    static constexpr DotKernel kKernels[] = {multiply_dots<Rows + 1>...};
};

void multiply_rows_of_dots(int rows, int64_t depth, const uint16_t* a, const uint16_t* b, float* c, bool accumulate) {
    DotKernels<std::make_integer_sequence<int, kDotRows>>::kKernels[rows - 1](depth, a, b, c, accumulate);
}

constexpr Bfloat16Unit kDots{"avx512_bf16", kDotRows, 1, false, &multiply_rows_of_dots, nullptr, nullptr};

// Bits of CPUID's leaf 7.
bool cpuid_bit(unsigned subleaf, unsigned reg, unsigned bit) {
    unsigned value[4];
    return __get_cpuid_count(7, subleaf, &value[0], &value[1], &value[2], &value[3]) && (value[reg] >> bit & 1);
}

bool has_dots() { return __builtin_cpu_supports("avx512f") && cpuid_bit(1, 0, 5); }

#endif
#if defined(STEEPEST_HAVE_AMX)

#define STEEPEST_AMX_TARGET __attribute__((target("amx-tile,amx-bf16")))

// Tiles 0 to 3 are a 2 x 2 grid of sums, 4 and 5 rows of a, 6 and 7 columns of b, each of 16 rows of 64 bytes.
STEEPEST_AMX_TARGET void begin_tiles() {
    struct alignas(64) Configuration {
        uint8_t palette = 1, start_row = 0, reserved[14] = {};
        uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
        uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    };
    static constexpr Configuration kConfiguration;
    _tile_loadconfig(&kConfiguration);
}

STEEPEST_AMX_TARGET void end_tiles() { _tile_release(); }

STEEPEST_AMX_TARGET void multiply_tiles(int rows, int64_t depth, const uint16_t* a, const uint16_t* b, float* c,
                                        bool accumulate) {
    constexpr int kBytes = kPanelCols * sizeof(float);  // of a row of c, and of a row of pairs of b
    const bool two = rows > 16;
    const int64_t a_bytes = depth * static_cast<int64_t>(sizeof(uint16_t));
    float* const lower = c + 16 * kPanelCols;
    if (accumulate) {
        _tile_loadd(0, c, kBytes);
        _tile_loadd(1, c + 16, kBytes);
        _tile_loadd(2, lower, kBytes);
        _tile_loadd(3, lower + 16, kBytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t p = 0; p < depth; p += kDepthStep) {
        _tile_loadd(6, b + p * kPanelCols, kBytes);
        _tile_loadd(4, a + p, a_bytes);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + p * kPanelCols + 32, kBytes);
        _tile_dpbf16ps(1, 4, 7);
        if (!two) continue;
        _tile_loadd(5, a + 16 * depth + p, a_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, kBytes);
    _tile_stored(1, c + 16, kBytes);
    if (!two) return;
    _tile_stored(2, lower, kBytes);
    _tile_stored(3, lower + 16, kBytes);
}

constexpr Bfloat16Unit kTiles{"amx", 32, 16, true, &multiply_tiles, &begin_tiles, &end_tiles};

bool has_tiles() { return cpuid_bit(0, 3, 22) && cpuid_bit(0, 3, 24); }

// Whether a unit computes what the emulation does. Small integers have exact products and sums.
bool agrees(const Bfloat16Unit& unit) {
    constexpr int kRows = kMostPairRows, kDepth = 2 * kDepthStep;
    alignas(64) static uint16_t a[kRows * kDepth], b[kDepth * kPanelCols];
    alignas(64) static float sums[2][kRows * kPanelCols];
    const auto small_integer = [](int i) {
        return static_cast<uint16_t>(std::bit_cast<uint32_t>(float(i % 13 - 6)) >> 16);
    };
    for (int i = 0; i < kRows * kDepth; ++i) a[i] = small_integer(i * 5 + i / kDepth);
    for (int i = 0; i < kDepth * kPanelCols; ++i) b[i] = small_integer(i * 7 + i / kPanelCols);
    const Bfloat16Session session(unit);
    for (const bool accumulate : {false, true}) {
        unit.multiply(kRows, kDepth, a, b, sums[0], accumulate);
        kEmulated.multiply(kRows, kDepth, a, b, sums[1], accumulate);
    }
    for (int i = 0; i < kRows * kPanelCols; ++i)
        if (sums[0][i] != sums[1][i]) return false;
    return true;
}

bool may_use_tiles() {
    constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0 && agrees(kTiles);
}

#endif

std::vector<const Bfloat16Unit*> available_units() {
    std::vector<const Bfloat16Unit*> units{nullptr, &kEmulated};
#if defined(STEEPEST_HAVE_X86)
    if (has_dots()) units.push_back(&kDots);
#endif
#if defined(STEEPEST_HAVE_AMX)
    if (has_tiles()) units.push_back(&kTiles);
#endif
    return units;
}

const char* name_of(const Bfloat16Unit* unit) { return unit ? unit->name : "none"; }

const Bfloat16Unit* selected = nullptr;

const Bfloat16Unit* usable() {
#if defined(STEEPEST_HAVE_AMX)
    if (selected == &kTiles && !may_use_tiles()) return has_dots() ? &kDots : nullptr;
#endif
    return selected;
}

}  // namespace

std::vector<std::string> available_bfloat16_units() {
    std::vector<std::string> names;
    for (const Bfloat16Unit* unit : available_units()) names.emplace_back(name_of(unit));
    return names;
}

const char* selected_bfloat16_unit() { return name_of(selected); }

void select_bfloat16_unit(const char* forced, bool allowed) {
    const std::vector<const Bfloat16Unit*> units = available_units();
    selected = nullptr;
    if (!forced || !*forced) {
        if (allowed && units.back() != &kEmulated) selected = units.back();
        return;
    }
    std::string names;
    for (const Bfloat16Unit* unit : units) {
        if (name_of(unit) == std::string(forced)) {
            selected = unit;
            return;
        }
        names += (names.empty() ? "" : ", ") + std::string(name_of(unit));
    }
    throw std::invalid_argument("STEEPEST_BFLOAT16 is '" + std::string(forced) +
                                "', but this build on this processor has: " + names);
}

const Bfloat16Unit* bfloat16_unit() {
    static const Bfloat16Unit* const unit = usable();
    return unit;
}

}  // namespace steepest
