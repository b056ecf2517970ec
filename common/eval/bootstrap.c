#include "common/eval/bootstrap.h"

#include "common/math/philox.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

size_t *draw_rows(size_t n, uint64_t seed, size_t replicate, uint32_t sample)
{
    size_t *rows = xreallocarray(NULL, n, sizeof *rows);
    for (size_t i = 0; i < n; i++) {
        struct philox counter = {{(uint32_t)i, (uint32_t)(i >> 32), (uint32_t)replicate, sample}};
        struct philox x = philox4x32(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
        uint64_t bits = (uint64_t)x.v[0] << 32 | x.v[1];
        /* The high half of a 128-bit product: uniform below n but for one part in 2^64 / n. */
        rows[i] = (size_t)(((unsigned __int128)bits * n) >> 64);
    }
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
