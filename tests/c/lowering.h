/* What a device makes of adapters that share an input (struct lowering), and of their gradients,
 * beside the definition in double precision. */
#ifndef DUQ_TESTS_LOWERING_H
#define DUQ_TESTS_LOWERING_H

#include "common/math/philox.h"
#include "common/util/mem.h"
#include "kernels/ops.h"
#include "tests/c/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct lowering_case {
    int n, ranks[MOST_LOWERED], rows, in;
    enum dtype type;
    double rate;
    bool numbered; /* rows have numbers of their own */
};

struct lowered {
    size_t width, low_n, a_n, x_n;
    float *low, *da, *dx; /* [rows, width], [width, in], [rows, in] */
    double *want_low, *want_da, *want_dx;
    double *low_size, *da_size, *dx_size; /* sums of the terms' sizes */
};

static inline int32_t lowered_number(int row)
{
    return 1000003 * (row % 7) + row;
}

static inline bool lowered_keeps(const struct lowering_case *c, int part, int row, int column)
{
    uint32_t number = (uint32_t)(c->numbered ? lowered_number(row) : row);
    struct philox counter = {{(uint32_t)column / 4, number, 5 + (uint32_t)part, 17}};
    counter = philox4x32(counter, 0x89abcdefu, 0x01234567u);
    return (double)counter.v[column % 4] >= floor(c->rate * 4294967296.0);
}

static inline void *lowered_copy(struct device *d, const void *from, size_t bytes)
{
    void *to = d->alloc(d, bytes + 1);
    d->upload(d, to, from, bytes);
    return to;
}

/* Random numbers that the type holds; as they are stored in `stored`. */
static inline float *lowered_random(uint64_t *seed, enum dtype type, size_t n, void *stored)
{
    float *x = random_numbers(seed, n);
    for (size_t i = 0; i < n; i++) {
        dtype_store(type, stored, i, x[i]);
        x[i] = dtype_load(type, stored, i);
    }
    return x;
}

static inline void lowered_add(double *sum, double *size, double term)
{
    *sum += term;
    *size += fabs(term);
}

/* da and dx begin at what `start` times random numbers are. */
static inline struct lowered lowered_run(struct device *d, const struct lowering_case *c,
                                         double start)
{
    struct lowering l = {.n = c->n, .rows = c->rows, .in = c->in, .type = c->type};
    memcpy(l.ranks, c->ranks, sizeof l.ranks);
    size_t rows = (size_t)c->rows, in = (size_t)c->in, width = (size_t)lowered_width(&l);
    struct lowered o = {.width = width, .low_n = rows * width, .a_n = width * in, .x_n = rows * in};
    uint64_t seed = 77 + rows + in;
    size_t size = dtype_size(c->type);
    void *stored_x = xmalloc(o.x_n * size + 1), *stored_a = xmalloc(o.a_n * size + 1);
    float *x = lowered_random(&seed, c->type, o.x_n, stored_x);
    float *a = lowered_random(&seed, c->type, o.a_n, stored_a);
    int32_t *numbers = (int32_t *)xmalloc(rows * sizeof *numbers + 1);
    for (int r = 0; r < c->rows; r++)
        numbers[r] = lowered_number(r);

    float *low_d = (float *)d->alloc(d, o.low_n * sizeof(float) + 1);
    void *numbers_d = lowered_copy(d, numbers, rows * sizeof *numbers);
    void *x_d = lowered_copy(d, stored_x, o.x_n * size);
    void *a_d = lowered_copy(d, stored_a, o.a_n * size);
    void *work = d->alloc(d, (size_t)MOST_LOWERED * o.x_n * sizeof(float) + 1);
    l.x = x_d;
    l.a = a_d;
    l.low = low_d;
    l.work = work;
    for (int i = 0; i < c->n; i++)
        l.dropout[i] =
            (struct dropout){.rate = c->rate,
                             .seed = 0x123456789abcdefu,
                             .stream = 5 + (uint32_t)i,
                             .step = 17,
                             .row_numbers = c->numbered ? (const int32_t *)numbers_d : NULL};
    d->lower(d, &l);
    o.low = random_numbers(&seed, o.low_n);
    d->download(d, o.low, low_d, o.low_n * sizeof *o.low);

    o.da = random_numbers(&seed, o.a_n);
    o.dx = random_numbers(&seed, o.x_n);
    o.want_low = (double *)xcalloc(o.low_n + 1, sizeof(double));
    o.low_size = (double *)xcalloc(o.low_n + 1, sizeof(double));
    o.want_da = (double *)xcalloc(o.a_n + 1, sizeof(double));
    o.da_size = (double *)xcalloc(o.a_n + 1, sizeof(double));
    o.want_dx = (double *)xcalloc(o.x_n + 1, sizeof(double));
    o.dx_size = (double *)xcalloc(o.x_n + 1, sizeof(double));
    for (size_t i = 0; i < o.a_n; i++) {
        o.da[i] *= (float)start;
        lowered_add(&o.want_da[i], &o.da_size[i], (double)o.da[i]);
    }
    for (size_t i = 0; i < o.x_n; i++) {
        o.dx[i] *= (float)start;
        lowered_add(&o.want_dx[i], &o.dx_size[i], (double)o.dx[i]);
    }
    float *da_d = (float *)lowered_copy(d, o.da, o.a_n * sizeof *o.da);
    float *dx_d = (float *)lowered_copy(d, o.dx, o.x_n * sizeof *o.dx);
    double scale = 1 / (1 - c->rate);
    for (int part = 0, before = 0; part < c->n; before += c->ranks[part++]) {
        size_t rank = (size_t)c->ranks[part];
        void *stored = xmalloc(rows * rank * size + 1);
        float *d_low = lowered_random(&seed, c->type, rows * rank, stored);
        void *stored_d = lowered_copy(d, stored, rows * rank * size);
        struct lowering_backward b = {.rows = c->rows,
                                      .in = c->in,
                                      .rank = c->ranks[part],
                                      .type = c->type,
                                      .x = x_d,
                                      .a = (const char *)a_d + (size_t)before * in * size,
                                      .d_low = stored_d,
                                      .dropout = l.dropout[part],
                                      .da = da_d + (size_t)before * in,
                                      .dx = dx_d,
                                      .work = work};
        d->lower_backward(d, &b);
        for (int r = 0; r < c->rows; r++)
            for (int i = 0; i < c->in; i++) {
                if (!lowered_keeps(c, part, r, i))
                    continue;
                size_t at = (size_t)r * in + (size_t)i;
                for (int k = 0; k < c->ranks[part]; k++) {
                    size_t of_low = (size_t)r * width + (size_t)(before + k);
                    size_t of_a = (size_t)(before + k) * in + (size_t)i;
                    double g = (double)d_low[(size_t)r * rank + (size_t)k];
                    lowered_add(&o.want_low[of_low], &o.low_size[of_low],
                                scale * (double)x[at] * (double)a[of_a]);
                    lowered_add(&o.want_da[of_a], &o.da_size[of_a], scale * g * (double)x[at]);
                    lowered_add(&o.want_dx[at], &o.dx_size[at], scale * g * (double)a[of_a]);
                }
            }
        d->download(d, d_low, low_d, 0); /* before what it reads is released */
        d->release(d, stored_d);
        free(stored);
        free(d_low);
    }
    d->download(d, o.da, da_d, o.a_n * sizeof *o.da);
    d->download(d, o.dx, dx_d, o.x_n * sizeof *o.dx);
    void *there[] = {low_d, numbers_d, x_d, a_d, work, da_d, dx_d};
    for (size_t i = 0; i < sizeof there / sizeof *there; i++)
        d->release(d, there[i]);
    free(x), free(a), free(numbers), free(stored_x), free(stored_a);
    return o;
}

/* The worst |got - want| of all results over the sum of their terms' sizes. */
static inline double lowered_error(const struct lowered *o)
{
    const float *got[] = {o->low, o->da, o->dx};
    const double *want[] = {o->want_low, o->want_da, o->want_dx};
    const double *sizes[] = {o->low_size, o->da_size, o->dx_size};
    size_t n[] = {o->low_n, o->a_n, o->x_n};
    double worst = 0;
    for (int k = 0; k < 3; k++)
        for (size_t i = 0; i < n[k]; i++) {
            double off = fabs((double)got[k][i] - want[k][i]);
            worst = off > 0 || isnan(off) ? fmax(worst, off / (sizes[k][i] + 1e-30)) : worst;
            if (isnan(off))
                return INFINITY;
        }
    return worst;
}

static inline void lowered_free(struct lowered *o)
{
    void *all[] = {o->low,     o->da,       o->dx,      o->want_low, o->want_da,
                   o->want_dx, o->low_size, o->da_size, o->dx_size};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* Ranks and widths that fill no panel, more rows than a product packs at once, no row. */
static const struct lowering_case lowering_cases[] = {
    {.n = 1, .ranks = {16}, .rows = 37, .in = 70},
    {.n = 3, .ranks = {16, 16, 16}, .rows = 65, .in = 64},
    {.n = 3, .ranks = {3, 16, 5}, .rows = 1030, .in = 37},
    {.n = 2, .ranks = {40, 1}, .rows = 9, .in = 1101},
    {.n = 2, .ranks = {1, 2}, .rows = 1, .in = 1},
    {.n = 1, .ranks = {4}, .rows = 0, .in = 8},
};
enum { LOWERING_CASES = sizeof lowering_cases / sizeof *lowering_cases };

#endif
