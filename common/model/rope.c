#include "common/model/rope.h"

#include "common/math/circle.h"
#include "common/math/logarithm.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

static void release_table(struct rotation_table *t, struct device *d)
{
    d->release(d, t->cosine);
    d->release(d, t->sine);
    d->release(d, t->minus_sine);
}

void rotation_release(struct rotation *r, struct device *d)
{
    for (int i = 0; i < MOST_ROTARIES; i++) {
        if (r->queries[i].cosine != r->keys[i].cosine)
            release_table(&r->queries[i], d);
        release_table(&r->keys[i], d);
    }
    *r = (struct rotation){0};
}

static float *on_device(struct device *d, const float *values, size_t n)
{
    float *t = d->alloc(d, n * sizeof *t);
    d->upload(d, t, values, n * sizeof *t);
    return t;
}

/* What cosines and sines of queries at a position are multiplied by beside the magnitude. */
static float growth(const struct rotary *r, size_t position)
{
    return 1 + r->growth * natural_log(1 + floorf((float)position / (float)r->growth_step));
}

static struct rotation_table make_table(struct device *d, const struct rotary *r, size_t positions,
                                        bool grows, bool back)
{
    size_t half = (size_t)r->dims / 2, n = positions * half;
    float *cosine = xreallocarray(NULL, n, sizeof *cosine);
    float *sine = xreallocarray(NULL, n, sizeof *sine);
    for (size_t p = 0; p < positions; p++) {
        float magnitude = grows ? r->magnitude * growth(r, p) : r->magnitude;
        for (size_t i = 0; i < half; i++) {
            double x, y;
            float angle = (float)p * r->frequency[i];
            cosine_and_sine((double)angle, &x, &y);
            cosine[p * half + i] = (float)x * magnitude;
            sine[p * half + i] = (float)y * magnitude;
        }
    }
    struct rotation_table t = {.cosine = on_device(d, cosine, n), .sine = on_device(d, sine, n)};
    for (size_t i = 0; i < n; i++)
        sine[i] = -sine[i];
    if (back)
        t.minus_sine = on_device(d, sine, n);
    free(cosine);
    free(sine);
    return t;
}

void rotation_reserve(struct rotation *r, struct device *d, const struct config *c, int positions,
                      bool back)
{
    if (positions <= r->positions)
        return;
    rotation_release(r, d);
    r->positions = positions;
    for (int i = 0; i < c->n_rotaries; i++) {
        const struct rotary *rotary = &c->rotaries[i];
        r->keys[i] = make_table(d, rotary, (size_t)positions, false, back);
        r->queries[i] =
            rotary->growth > 0 ? make_table(d, rotary, (size_t)positions, true, back) : r->keys[i];
    }
}
