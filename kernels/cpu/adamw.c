/* The optimizer's operations on parameters and their gradients. */
#include "kernels/cpu/cpu.h"

enum { PARALLEL_FROM = 16384 };

/* One after another, so that the sum of several arrays is that of one made of them. */
void cpu_add_squares(struct device *d, const float *x, size_t n, double *sum)
{
    (void)d;
    double squares = *sum;
    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    *sum = squares;
}

void cpu_scale(struct device *d, float factor, float *x, size_t n)
{
    (void)d;
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

void cpu_adamw(struct device *d, const struct adamw_factors *f, const float *gradient, float *value,
               float *m, float *v, size_t n)
{
    (void)d;
#pragma omp parallel for simd schedule(static) if (n > PARALLEL_FROM)
    for (size_t i = 0; i < n; i++)
        adamw_element(f, gradient[i], &value[i], &m[i], &v[i]);
}
