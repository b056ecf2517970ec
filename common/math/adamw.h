/* One element's AdamW step (Loshchilov & Hutter 2019) as torch.optim.AdamW takes it, in single
 * precision, for the host and for device code. */
#ifndef DUQ_MATH_ADAMW_H
#define DUQ_MATH_ADAMW_H

#include "common/util/everywhere.h"

#include <math.h>

/* What a step's settings, learning rate and number come to. */
struct adamw_factors {
    float rest1;            /* 1 - beta1 */
    float beta2, rest2;     /* beta2, 1 - beta2 */
    float root_correction2; /* sqrt(1 - beta2^step) */
    float epsilon;
    float keep; /* 1 - rate weight_decay */
    float size; /* rate / (1 - beta1^step) */
};

EVERYWHERE void adamw_element(const struct adamw_factors *f, float g, float *value, float *m,
                              float *v)
{
    float mean = *m + f->rest1 * (g - *m);
    float square = *v * f->beta2 + f->rest2 * g * g;
    *m = mean;
    *v = square;
    *value =
        *value * f->keep - f->size * (mean / (sqrtf(square) / f->root_correction2 + f->epsilon));
}

#endif
