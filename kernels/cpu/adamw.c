/* The optimizer's operations on parameters and their gradients. */
#include "kernels/cpu/cpu.h"

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

struct update {
    const struct adamw_factors *factors;
    const float *gradient;
    float *value, *m, *v;
};

enum { ELEMENTS = 16384 };

static void update_elements(void *context, size_t first, size_t end)
{
    const struct update *u = context;
    for (size_t i = first; i < end; i++)
        adamw_element(u->factors, u->gradient[i], &u->value[i], &u->m[i], &u->v[i]);
}

void cpu_adamw(struct device *d, const struct adamw_factors *f, const float *gradient, float *value,
               float *m, float *v, size_t n)
{
    (void)d;
    struct update u = {f, gradient, value, m, v};
    cpu_each(n, ELEMENTS, n, update_elements, &u);
}
