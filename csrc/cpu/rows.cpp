#include "cpu/rows.h"

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T>
bool check_labels(const RowWeights<T>& rows, int64_t classes, OperationNumber operation, Team& team) {
    for (int64_t i = 0; i < rows.labels.size; ++i) {
        const int64_t label = rows.labels[i];
        if (!rows.is_bad(label, classes)) continue;
        Failure failure;
        failure.kind = Failure::kLabel, failure.operation = operation;
        failure.value = label, failure.position = i, failure.limit = classes;
        team.fail(failure);
        return false;
    }
    return true;
}

template bool check_labels(const RowWeights<float>&, int64_t, OperationNumber, Team&);
template bool check_labels(const RowWeights<double>&, int64_t, OperationNumber, Team&);

}  // namespace STEEPEST_TARGET
}  // namespace steepest
