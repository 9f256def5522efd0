// The standard normal distribution, on vectors and CUDA lanes alike.
#pragma once

#include "common/polynomial.h"

namespace steepest {

constexpr double kNormalDensityAt0 = 0.398942280401432677939946;  // 1 / sqrt(2 pi)

inline namespace STEEPEST_TARGET {

// The tail Q(a) of the distribution beyond a = |x|, as the product of exp(-a² / 2) and a ratio that is far from underflow.
template <class V>
struct NormalTail;

template <template <class> class V, class T>
struct NormalTail<V<T>> {
    static constexpr bool kSingle = sizeof(T) == 4;
    static constexpr double kRange = kSingle ? 15 : 39;  // beyond, a Q(a) is 0

    V<T> distance;  // a, within the range; a NaN stays
    V<T> ratio;     // Q(a) exp(a² / 2)

    explicit STEEPEST_HD NormalTail(V<T> x) : distance(min(V<T>(kRange), abs(x))), ratio(ratio_at(distance)) {}

    // v exp(-a² / 2). What rounding takes from a² is as many digits of the exponential, so it is put back.
    STEEPEST_HD V<T> times_density(V<T> v) const {
        const V<T> square = distance * distance, lost = rounding_of_square(distance, square);
        return times_exp(v - v * (lost * V<T>(0.5)), square * V<T>(-0.5));
    }

    // A rational function of degrees 4 and 5 (10 and 11) with the least relative error, 7e-9 (1e-18).
    static STEEPEST_HD V<T> ratio_at(V<T> a) {
        if constexpr (kSingle)
            return polynomial(a, 0.50000000312281983805, 0.43927869953153259338, 0.18396385547511976186,
                              0.040878831731405964109, 0.0041527450447087277152) /
                   polynomial(a, 1.0, 1.6764424030115334634, 1.2055301890221045802, 0.47139431652763641039,
                              0.1024741461209019281, 0.010409276648994994525);
        else
            return polynomial(a, 0.50000000000000000049, 0.82862091579907217105, 0.68069624372588873732,
                              0.35818442580773504732, 0.13245811093582876617, 0.035807988073913842031,
                              0.0071570558730432478646, 0.0010456871852765710163, 0.00010729646432111857427,
                              7.0316535873903356436e-6, 2.2628950741676767107e-7) /
                   polynomial(a, 1.0, 2.4551263924010099213, 2.8202999307681722426, 2.005040947276022251,
                              0.98252661986787358817, 0.34943108528571770574, 0.092343213223897709973,
                              0.018207896509831538858, 0.0026387748069242329292, 0.00026951957490986615642,
                              0.000017625741699590405409, 5.672236775430755316e-7);
    }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
