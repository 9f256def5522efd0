// The standard normal distribution, on vectors and CUDA lanes alike.
#pragma once

#include "common/polynomial.h"

namespace steepest {

constexpr double kNormalDensityAt0 = 0.398942280401432677939946;  // 1 / sqrt(2 pi)

inline namespace STEEPEST_TARGET {

// The tail Q(a) of the distribution beyond a = |x|, as the product of exp(-a² / 2) and a ratio that is far from
// underflow.
template <class V>
struct NormalTail;

template <template <class> class V, class T>
struct NormalTail<V<T>> {
    static constexpr bool kSingle = sizeof(T) == 4;
    static constexpr double kRange = kSingle ? 15 : 39;  // for larger a, a Q(a) is 0

    V<T> distance;  // a, clipped to the range; NaN stays NaN
    V<T> ratio;     // Q(a) exp(a² / 2)

    explicit STEEPEST_HD NormalTail(V<T> x) : distance(min(V<T>(kRange), abs(x))), ratio(ratio_at(distance)) {}

    // v exp(-a² / 2). The rounding error of a² would become a relative error of the exponential, so it is added to the
    // exponent.
    STEEPEST_HD V<T> times_density(V<T> v) const {
        const V<T> square = distance * distance, lost = rounding_of_product(distance, distance, square), half(-0.5);
        return factored_exp(square * half, lost * half).times(v);
    }

    // N / (sqrt(2 pi) a N + P) with minimax polynomials N and P of degrees 5 and 4 (10 and 9 in float64), whose
    // relative error is 7e-10 (4e-18). The form follows Q(a) = phi(a) / (a + 1 / (a + ...)): where a is large, the
    // rounding errors of N cancel.
    static STEEPEST_HD V<T> ratio_at(V<T> a) {
        V<T> n, p;
        if constexpr (kSingle) {
            n = polynomial(a, 1.0, 1.0876174739792150446, 0.56790697269790505561, 0.17169079932901984805,
                           0.030061429114652966011, 0.0025197086245658245813);
            p = polynomial(a, 2.000000001397757679, 1.2643756773064155731, 0.41838868301912193757,
                           0.075323212075647045323, 0.0063165534002561311445);
        } else {
            n = polynomial(a, 1.0, 1.6942012008098938484, 1.4196529880525237969, 0.76173281944360733048,
                           0.28736019100328535721, 0.079321111935378981742, 0.01621091702973839503,
                           0.0024263787190994904832, 0.00025570110758002915578, 0.000017272269770610816466,
                           5.7614366734132944004e-7);
            p = polynomial(a, 1.999999999999999992, 2.4775432485945196606, 1.5693668500160540593,
                           0.64533657927715094988, 0.18709752245176985318, 0.03936728609440190541,
                           0.0059954392795513261057, 0.0006380592682330468379, 0.000043295159795795958401,
                           1.4441780066933294311e-6);
        }
        return n / fma(a * V<T>(1 / kNormalDensityAt0), n, p);
    }
};

}  // namespace STEEPEST_TARGET
}  // namespace steepest
