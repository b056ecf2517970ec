#include "common/math/special.h"

double trigamma(double x)
{
    if (!(x >= 0))
        return NAN;
    if (x == 0)
        return INFINITY;
    double below = 0;
    for (; x < ASYMPTOTIC_FROM; x += 1)
        below += 1 / (x * x);
    double t = 1 / (x * x);
    double series =
        t * (1. / 6 -
             t * (1. / 30 - t * (1. / 42 - t * (1. / 30 - t * (5. / 66 - t * (691. / 2730))))));
    return below + (1 + 0.5 / x + series) / x;
}
