#include "common/model/rope.h"

#include "common/math/circle.h"
#include "common/util/mem.h"

#include <stdlib.h>

void rotation_release(struct rotation *r, struct device *d)
{
    d->release(d, r->cosine);
    d->release(d, r->sine);
    d->release(d, r->minus_sine);
    *r = (struct rotation){0};
}

static float *table(struct device *d, const float *values, size_t n)
{
    float *t = d->alloc(d, n * sizeof *t);
    d->upload(d, t, values, n * sizeof *t);
    return t;
}

void rotation_reserve(struct rotation *r, struct device *d, const struct config *c, int positions,
                      bool back)
{
    if (positions <= r->positions)
        return;
    rotation_release(r, d);
    size_t half = (size_t)c->head_dim / 2, n = (size_t)positions * half;
    float *cosine = xreallocarray(NULL, n, sizeof *cosine);
    float *sine = xreallocarray(NULL, n, sizeof *sine);
    for (size_t p = 0; p < (size_t)positions; p++)
        for (size_t i = 0; i < half; i++) {
            double x, y;
            float angle = (float)p * c->frequency[i];
            cosine_and_sine((double)angle, &x, &y);
            cosine[p * half + i] = (float)x * c->rope_magnitude;
            sine[p * half + i] = (float)y * c->rope_magnitude;
        }
    r->positions = positions;
    r->cosine = table(d, cosine, n);
    r->sine = table(d, sine, n);
    for (size_t i = 0; i < n; i++)
        sine[i] = -sine[i];
    if (back)
        r->minus_sine = table(d, sine, n);
    free(cosine);
    free(sine);
}
