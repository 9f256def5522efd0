// The plan of a matrix product, as data.
#pragma once

#include <cstdint>

namespace steepest {

enum class ProductForm : int8_t {
    kTiles,   // tiles of c in registers
    kStream,  // a few rows of c, to which the rows of b are added in the order of memory
    kDots,    // inner products of contiguous rows of a and columns of b
};

struct ProductPlan {
    ProductForm form = ProductForm::kTiles;
    int parts = 0;        // the bfloat16 parts of each item of the operands; 0 if these are multiplied as they are
    bool turned = false;  // whether b.T @ a.T is computed, into c.T
    int tile_rows = 1, tile_cols = 1;
    int64_t blocks = 1;                  // k is summed in so many blocks
    int down = 1, across = 1, deep = 1;  // threads that divide the rows, the columns and the blocks of k
};

// Whether the operands are copied in the order in which tiles read them; and whether a b that is read in place is
// fetched a panel ahead.
struct Packing {
    bool a, b, fetches_b;
};

struct ExplainedProduct {
    ProductPlan plan;
    Packing first_block;
};

}  // namespace steepest
