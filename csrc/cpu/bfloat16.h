// Products of bfloat16 numbers: the instructions that this processor has for them.
//
// All of them multiply pairs of neighbouring products, so they share one format of packed operands:
//     left    a[i * depth + p]                                   rows of bfloat16 numbers
//     right   b[(p / 2 * kPanelCols + j) * 2 + p % 2]            a panel of kPanelCols columns
// for 0 <= p < depth, a multiple of kDepthStep. What lies behind the operands' ends is zero.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace steepest {

constexpr int kPanelCols = 32;
constexpr int kDepthStep = 32;
constexpr int kMostPairRows = 32;  // of any unit's tile

struct Bfloat16Unit {
    const char* name;
    int rows;             // of a whole tile
    int row_step;         // a tile of other heights costs as much as one of the next multiple
    bool pays_for_three;  // whether three products take less time than one in float32

    // c (rows, kPanelCols) = a @ b, or c + a @ b. The left operand has memory for kMostPairRows rows, c as well.
    void (*multiply)(int rows, int64_t depth, const uint16_t* a, const uint16_t* b, float* c, bool accumulate);
    // A thread calls them before its first and after its last product; null if there is nothing to do.
    void (*begin)();
    void (*end)();
};

// The units by name, from the least to the most capable; "none" and "emulated" are for any processor.
std::vector<std::string> available_bfloat16_units();

// The name of the selected unit.
const char* selected_bfloat16_unit();

// Selects a unit: the best one if `allowed`, else "none"; or `forced`, the value of STEEPEST_BFLOAT16. Throws
// std::invalid_argument if that is not available.
void select_bfloat16_unit(const char* forced, bool allowed);

// The selected unit, or null. The first call asks the system for permission to use the tile registers of AMX, which
// have to be saved for each thread, and tries them; if it is refused, the next capable unit takes their place.
const Bfloat16Unit* bfloat16_unit();

// Calls begin() and end() of a unit.
class Bfloat16Session {
  public:
    explicit Bfloat16Session(const Bfloat16Unit& unit) : unit_(unit) {
        if (unit_.begin) unit_.begin();
    }
    ~Bfloat16Session() {
        if (unit_.end) unit_.end();
    }
    Bfloat16Session(const Bfloat16Session&) = delete;
    Bfloat16Session& operator=(const Bfloat16Session&) = delete;

  private:
    const Bfloat16Unit& unit_;
};

}  // namespace steepest
