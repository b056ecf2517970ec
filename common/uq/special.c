#include "common/uq/special.h"

#include <math.h>

/* Above this the asymptotic series below, cut after six terms, are exact to double precision;
 * the recurrences psi(x) = psi(x + 1) - 1/x and psi'(x) = psi'(x + 1) + 1/x^2 lead there.
 * Abramowitz and Stegun 6.3.5, 6.3.18, 6.4.6, 6.4.12. */
static const double ASYMPTOTIC_FROM = 12;

double log_gamma(double x)
{
    if (!(x >= 0))
        return NAN;
    int sign;
    return lgamma_r(x, &sign); /* lgamma() writes a global */
}

double digamma(double x)
{
    if (!(x >= 0))
        return NAN;
    if (x == 0)
        return -INFINITY;
    if (isinf(x))
        return INFINITY;
    double below = 0;
    for (; x < ASYMPTOTIC_FROM; x += 1)
        below += 1 / x;
    double t = 1 / (x * x);
    double series =
        t * (1. / 12 - t * (1. / 120 -
                            t * (1. / 252 - t * (1. / 240 - t * (1. / 132 - t * (691. / 32760))))));
    return log(x) - 0.5 / x - series - below;
}

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
