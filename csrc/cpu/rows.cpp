#include "cpu/rows.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

bool check_labels(const IntegerVectorView& labels, bool has_ignore_label, int64_t ignore_label, int64_t classes,
                  const char* operation, Team& team) {
    for (int64_t i = 0; i < labels.size; ++i) {
        const int64_t label = labels[i];
        const bool in_range = static_cast<uint64_t>(label) < static_cast<uint64_t>(classes);
        if (in_range || (has_ignore_label && label == ignore_label)) continue;
        Failure failure;
        failure.kind = Failure::kLabel, failure.operation = operation;
        failure.value = label, failure.position = i, failure.limit = classes;
        team.fail(failure);
        return false;
    }
    return true;
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
