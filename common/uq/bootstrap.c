#include "common/uq/bootstrap.h"

#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

/* SplitMix64 (Steele, Lea and Flood 2014). */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t replicate_seed(uint64_t seed, size_t replicate)
{
    uint64_t state = seed;
    state = next_random(&state) ^ replicate;
    return next_random(&state);
}

size_t *draw_rows(size_t n, uint64_t seed, uint64_t stream)
{
    uint64_t state = replicate_seed(seed, stream);
    size_t *rows = xreallocarray(NULL, n, sizeof *rows);
    for (size_t i = 0; i < n; i++)
        /* 53 bits: n is far below 2^53, the bias too small to see. */
        rows[i] = (size_t)((double)(next_random(&state) >> 11) * 0x1p-53 * (double)n);
    return rows;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

void percentile_interval(double *values, size_t n, double level, double *low, double *high)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(values[i]))
            values[m++] = values[i];
    *low = *high = NAN;
    if (m == 0 || 2 * m < n)
        return;
    qsort(values, m, sizeof *values, ascending);
    *low = quantile(values, m, (1 - level) / 2);
    *high = quantile(values, m, (1 + level) / 2);
}
