#include "common/math/binomial.h"

#include <math.h>

/* Long double throughout: exponents are differences of numbers as large as n log n. */

static const long double LOG_TWO_PI = 1.837877066409345483560659472811235279722L;

/* What is left of a sum's geometric rest when a term is this small a part of it does not show. */
static const long double NEGLIGIBLE = 1e-21L;

/* ln n! - (n + 1/2) ln n + n - ln(2 pi) / 2: what Stirling's formula lacks. */
static long double stirling_error(size_t n)
{
    long double x = (long double)n;
    if (n < 16) {
        long double log_factorial = 0;
        for (size_t i = 2; i <= n; i++)
            log_factorial += logl((long double)i);
        return log_factorial - (x + 0.5L) * logl(x) + x - LOG_TWO_PI / 2;
    }
    long double t = 1 / (x * x);
    return (1 / 12.L -
            t * (1 / 360.L -
                 t * (1 / 1260.L - t * (1 / 1680.L - t * (1 / 1188.L - t * (691 / 360360.L)))))) /
           x;
}

/* x ln(x / mean) + mean - x, never negative. */
static long double deviance(long double x, long double mean)
{
    return x * log1pl((x - mean) / mean) + mean - x;
}

/* P(X = k), 0 < p < 1. */
static long double probability_of(size_t k, size_t n, long double p)
{
    long double all = (long double)n, x = (long double)k, rest = (long double)(n - k);
    if (k == 0)
        return expl(all * log1pl(-p));
    if (k == n)
        return expl(all * logl(p));
    long double exponent = stirling_error(n) - stirling_error(k) - stirling_error(n - k) -
                           deviance(x, all * p) - deviance(rest, all * (1 - p));
    return expl(exponent - LOG_TWO_PI / 2) * sqrtl(all / x / rest);
}

/* P(X <= k), where k is below the mode. */
static long double lower_tail(size_t k, size_t n, long double p)
{
    long double term = 1, sum = 1;
    for (size_t j = k; j > 0 && term > NEGLIGIBLE * sum; j--)
        sum += term *= (long double)j * (1 - p) / ((long double)(n - j + 1) * p);
    return probability_of(k, n, p) * sum;
}

/* P(X >= k), where k is above the mode. */
static long double upper_tail(size_t k, size_t n, long double p)
{
    long double term = 1, sum = 1;
    for (size_t j = k; j < n && term > NEGLIGIBLE * sum; j++)
        sum += term *= (long double)(n - j) * p / ((long double)(j + 1) * (1 - p));
    return probability_of(k, n, p) * sum;
}

double binomial_at_most(size_t k, size_t n, double p)
{
    if (!(p >= 0 && p <= 1))
        return NAN;
    if (k >= n || p == 0)
        return 1;
    if (p == 1)
        return 0;
    if ((long double)k < (long double)(n + 1) * p)
        return (double)lower_tail(k, n, p);
    return (double)(1 - upper_tail(k + 1, n, p));
}
