/* The gamma function's logarithm and its first two derivatives, for x > 0, in double precision.
 * Within 1e-12 (absolute, or relative where the value is above 1) over the whole positive range;
 * x = 0 gives the limit (an infinity), x < 0 and NaN give NaN. Safe to call from threads. */
#ifndef DUQ_MATH_SPECIAL_H
#define DUQ_MATH_SPECIAL_H

#include "common/util/everywhere.h"

#include <math.h>

/* Above this the asymptotic series below, cut after six terms, are exact to double precision;
 * the recurrences psi(x) = psi(x + 1) - 1/x and psi'(x) = psi'(x + 1) + 1/x^2 lead there.
 * Abramowitz and Stegun 6.3.5, 6.3.18, 6.4.6, 6.4.12. */
#define ASYMPTOTIC_FROM 12.0

/* ln Gamma(x) */
EVERYWHERE double log_gamma(double x)
{
    if (!(x >= 0))
        return NAN;
#ifdef __CUDA_ARCH__
    return lgamma(x);
#else
    int sign;
    return lgamma_r(x, &sign); /* lgamma() writes a global */
#endif
}

/* psi(x) = d/dx ln Gamma(x) */
EVERYWHERE double digamma(double x)
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

/* psi'(x) = d2/dx2 ln Gamma(x) */
EVERYWHERE double trigamma(double x)
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

#endif
