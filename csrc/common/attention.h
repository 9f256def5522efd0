// Which keys a query of attention may attend to. Queries and keys are rows of two arrays, and a sequence is a span of
// each. Heads lie side by side in the columns; a group of heads / key_heads heads shares a head of keys and values.
#pragma once

#include "common/spans.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

struct AttentionPattern {
    Spans queries, keys;  // as many sequences in both
    int64_t heads = 1, key_heads = 1;
    bool causal = false;                    // whether the last query stands beside the last key, and none looks ahead
    MatrixView<const uint8_t> mask;         // (rows of queries, most keys of a sequence), or absent
    MatrixView<const uint8_t> shared_mask;  // (most queries, most keys), by positions in any sequence, or absent

    STEEPEST_HD int64_t group() const { return heads / key_heads; }

    // The keys 0 .. visible - 1 of a sequence are those that its query i may attend to, but for the masks.
    STEEPEST_HD int64_t visible(int64_t i, int64_t n_queries, int64_t n_keys) const {
        if (!causal) return n_keys;
        const int64_t keys_seen = n_keys - n_queries + i + 1;
        return keys_seen < 0 ? 0 : keys_seen;
    }

    // Whether the masks let query i of the sequence whose queries begin at row `first` attend to its key j.
    STEEPEST_HD bool passes_masks(int64_t first, int64_t i, int64_t j) const {
        return (!mask || mask(first + i, j) != 0) && (!shared_mask || shared_mask(i, j) != 0);
    }

    // Whether sequence s does not lie in the arrays, or has more steps than a mask.
    STEEPEST_HD bool is_bad(int64_t s) const {
        return queries.is_bad(s) || keys.is_bad(s) || lacks_queries(s) || lacks_keys(s);
    }
    STEEPEST_HD Failure failure_of(int64_t s, OperationNumber operation) const {
        if (queries.is_bad(s)) return queries.failure_of(s, operation);
        if (keys.is_bad(s)) return keys.failure_of(s, operation);
        Failure f;
        f.kind = Failure::kMask, f.operation = operation, f.position = s;
        const bool of_keys = !lacks_queries(s);
        f.number = of_keys ? 1 : 0;
        f.value = of_keys ? keys.length(s) : queries.length(s);
        f.limit = of_keys ? key_limit() : shared_mask.rows;
        return f;
    }

  private:
    // The keys for which the narrower of the masks has columns.
    STEEPEST_HD int64_t key_limit() const {
        if (!mask) return shared_mask.cols;
        return shared_mask && shared_mask.cols < mask.cols ? shared_mask.cols : mask.cols;
    }
    STEEPEST_HD bool lacks_queries(int64_t s) const { return shared_mask && queries.length(s) > shared_mask.rows; }
    STEEPEST_HD bool lacks_keys(int64_t s) const { return (mask || shared_mask) && keys.length(s) > key_limit(); }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
