#include "common/model/lora.h"

#include "common/util/mem.h"

#include <stdlib.h>

struct part {
    const struct lora *host;
    int out; /* rows of b: for lm_head, the classes */
    struct lora_place place;
};

/* Working memory of one kind, on the device. */
struct room {
    float *p;
    size_t count;
};

struct lora_set {
    struct device *device;
    const struct adapter *adapter;
    struct part *parts;
    float *values, *gradients; /* [n], on the device; gradients: in training alone */
    size_t n;
    int32_t *class_tokens;
    int n_classes;
    struct lora_dropout dropout;
    struct room wide, low, d_low, d_wide;
};

static float *reserve(struct lora_set *s, struct room *r, size_t count)
{
    if (count > r->count) {
        s->device->release(s->device, r->p);
        r->p = s->device->alloc(s->device, count * sizeof *r->p);
        r->count = count;
    }
    return r->p;
}

static bool is_head(const struct lora_set *s, size_t part)
{
    return part + 1 == adapter_parts(s->adapter);
}

/* Matrices begin at multiples of this many floats, a cache line's; the zeros between them stay. */
enum { ALIGNMENT = 16 };

static size_t aligned(size_t n)
{
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void place_parts(struct lora_set *s)
{
    for (size_t i = 0; i < adapter_parts(s->adapter); i++) {
        struct part *p = &s->parts[i];
        p->host = &s->adapter->parts[i];
        p->out = is_head(s, i) ? s->n_classes : p->host->out;
        if (!p->host->a)
            continue;
        size_t rank = (size_t)p->host->rank;
        p->place.a = s->n;
        p->place.a_size = rank * (size_t)p->host->in;
        p->place.b = p->place.a + aligned(p->place.a_size);
        p->place.b_size = (size_t)p->out * rank;
        s->n = p->place.b + aligned(p->place.b_size);
    }
}

/* The rows of a part's B on the host that row r of the device's is. */
static size_t host_row(const struct lora_set *s, size_t part, int r)
{
    return (size_t)(is_head(s, part) ? s->class_tokens[r] : r);
}

struct lora_set *lora_load(struct device *d, const struct adapter *a, const int32_t *class_tokens,
                           int n_classes)
{
    struct lora_set *s = xcalloc(1, sizeof *s);
    s->device = d;
    s->adapter = a;
    s->n_classes = n_classes;
    s->class_tokens = xreallocarray(NULL, (size_t)n_classes, sizeof *class_tokens);
    memcpy(s->class_tokens, class_tokens, (size_t)n_classes * sizeof *class_tokens);
    s->parts = xcalloc(adapter_parts(a), sizeof *s->parts);
    place_parts(s);
    float *values = xcalloc(s->n, sizeof *values);
    for (size_t i = 0; i < adapter_parts(a); i++) {
        const struct part *p = &s->parts[i];
        if (!p->place.a_size)
            continue;
        size_t rank = (size_t)p->host->rank;
        memcpy(values + p->place.a, p->host->a, p->place.a_size * sizeof *values);
        for (int r = 0; r < p->out; r++)
            memcpy(values + p->place.b + (size_t)r * rank, p->host->b + host_row(s, i, r) * rank,
                   rank * sizeof *values);
    }
    s->values = d->alloc(d, s->n * sizeof *values);
    d->upload(d, s->values, values, s->n * sizeof *values);
    free(values);
    return s;
}

void lora_fetch(struct lora_set *s, struct adapter *to)
{
    struct device *d = s->device;
    float *values = xreallocarray(NULL, s->n, sizeof *values);
    d->download(d, values, s->values, s->n * sizeof *values);
    for (size_t i = 0; i < adapter_parts(to); i++) {
        const struct part *p = &s->parts[i];
        if (!p->place.a_size)
            continue;
        size_t rank = (size_t)p->host->rank;
        memcpy(to->parts[i].a, values + p->place.a, p->place.a_size * sizeof *values);
        for (int r = 0; r < p->out; r++)
            memcpy(to->parts[i].b + host_row(s, i, r) * rank,
                   values + p->place.b + (size_t)r * rank, rank * sizeof *values);
    }
    free(values);
}

void lora_free(struct lora_set *s)
{
    struct device *d = s->device;
    d->release(d, s->values);
    d->release(d, s->gradients);
    struct room *rooms[] = {&s->wide, &s->low, &s->d_low, &s->d_wide};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        d->release(d, rooms[i]->p);
    free(s->parts);
    free(s->class_tokens);
    free(s);
}

const struct adapter *lora_adapter(const struct lora_set *s)
{
    return s->adapter;
}

/* The part and its number as a stream of dropout; NULL where the adapter has none. */
static const struct part *find(const struct lora_set *s, int layer, enum projection projection,
                               struct dropout *dropout)
{
    size_t i = (size_t)(adapter_part(s->adapter, layer, projection) - s->adapter->parts);
    bool all = projection != LM_HEAD &&
               (layer + 1 < s->adapter->layers || projection == K_PROJ || projection == V_PROJ);
    const struct lora_dropout *d = &s->dropout;
    *dropout = (struct dropout){.rate = d->rate,
                                .seed = d->seed,
                                .stream = (uint32_t)i,
                                .step = d->pass,
                                .row_numbers = all ? d->rows : d->last_rows};
    return s->parts[i].place.a_size ? &s->parts[i] : NULL;
}

/* What A multiplies: x as f32, after dropout. */
static const float *input(struct lora_set *s, const struct part *p, const struct dropout *dropout,
                          const void *x, enum dtype type, int rows)
{
    struct device *d = s->device;
    size_t n = (size_t)rows * (size_t)p->host->in;
    if (type == F32 && dropout->rate == 0)
        return x;
    float *wide = reserve(s, &s->wide, n);
    if (dropout->rate > 0)
        d->dropout(d, dropout, x, type, rows, p->host->in, wide, false);
    else
        d->convert(d, x, type, wide, F32, n);
    return wide;
}

/* low[rows, rank] = x A^T */
static float *lower(struct lora_set *s, const struct part *p, const float *x, int rows)
{
    size_t rank = (size_t)p->host->rank, in = (size_t)p->host->in;
    float *low = reserve(s, &s->low, (size_t)rows * rank);
    s->device->gemm(s->device, &(struct matrix_product){.transpose_b = true,
                                                        .m = rows,
                                                        .n = p->host->rank,
                                                        .k = p->host->in,
                                                        .scale = 1,
                                                        .a = x,
                                                        .a_step = in,
                                                        .b = s->values + p->place.a,
                                                        .b_step = in,
                                                        .c = low,
                                                        .c_step = rank});
    return low;
}

void lora_forward(struct lora_set *s, int layer, enum projection projection, const void *x,
                  enum dtype type, int rows, float *y)
{
    struct dropout dropout;
    const struct part *p = s ? find(s, layer, projection, &dropout) : NULL;
    if (!p || !rows)
        return;
    size_t rank = (size_t)p->host->rank;
    const float *low = lower(s, p, input(s, p, &dropout, x, type, rows), rows);
    s->device->gemm(s->device, &(struct matrix_product){.transpose_b = true,
                                                        .m = rows,
                                                        .n = p->out,
                                                        .k = p->host->rank,
                                                        .scale = p->host->scale,
                                                        .a = low,
                                                        .a_step = rank,
                                                        .b = s->values + p->place.b,
                                                        .b_step = rank,
                                                        .c = y,
                                                        .c_step = (size_t)p->out,
                                                        .accumulate = true});
}

void lora_set_dropout(struct lora_set *s, const struct lora_dropout *d)
{
    s->dropout = *d;
}

struct lora_arrays lora_arrays(struct lora_set *s)
{
    if (!s->gradients)
        s->gradients = s->device->alloc(s->device, s->n * sizeof *s->gradients);
    return (struct lora_arrays){.values = s->values, .gradients = s->gradients, .n = s->n};
}

struct lora_place lora_place(const struct lora_set *s, size_t part)
{
    return s->parts[part].place;
}

bool lora_has(const struct lora_set *s, int layer, enum projection projection)
{
    struct dropout dropout;
    return find(s, layer, projection, &dropout);
}

/* c[m, n] += scale a^T b, a: [rows, m], b: [rows, n]. */
static void add_transposed(struct device *d, float scale, const float *a, int m, const float *b,
                           int n, int rows, float *c)
{
    d->gemm(d, &(struct matrix_product){.transpose_a = true,
                                        .m = m,
                                        .n = n,
                                        .k = rows,
                                        .scale = scale,
                                        .a = a,
                                        .a_step = (size_t)m,
                                        .b = b,
                                        .b_step = (size_t)n,
                                        .c = c,
                                        .c_step = (size_t)n,
                                        .accumulate = true});
}

/* c[rows, n] = scale a b, added when accumulate, a: [rows, k], b: [k, n]. */
static void multiply(struct device *d, float scale, const float *a, int k, const float *b, int n,
                     int rows, float *c, bool accumulate)
{
    d->gemm(d, &(struct matrix_product){.m = rows,
                                        .n = n,
                                        .k = k,
                                        .scale = scale,
                                        .a = a,
                                        .a_step = (size_t)k,
                                        .b = b,
                                        .b_step = (size_t)n,
                                        .c = c,
                                        .c_step = (size_t)n,
                                        .accumulate = accumulate});
}

/* With low = x A^T:  dB += scale dy^T low,  d_low = scale dy B,  dA += d_low^T x,  dx += d_low A
 * past dropout. */
void lora_backward(struct lora_set *s, int layer, enum projection projection, const void *x,
                   enum dtype type, int rows, const float *dy, float *dx)
{
    struct dropout dropout;
    const struct part *p = find(s, layer, projection, &dropout);
    if (!p || !rows)
        return;
    struct device *d = s->device;
    int rank = p->host->rank, in = p->host->in;
    float scale = p->host->scale;
    const float *wide = input(s, p, &dropout, x, type, rows), *low = lower(s, p, wide, rows);
    float *d_low = reserve(s, &s->d_low, (size_t)rows * (size_t)rank);
    add_transposed(d, scale, dy, p->out, low, rank, rows, s->gradients + p->place.b);
    multiply(d, scale, dy, p->out, s->values + p->place.b, rank, rows, d_low, false);
    add_transposed(d, 1, d_low, rank, wide, in, rows, s->gradients + p->place.a);
    if (!dx)
        return;
    if (dropout.rate == 0) {
        multiply(d, 1, d_low, rank, s->values + p->place.a, in, rows, dx, true);
        return;
    }
    float *d_wide = reserve(s, &s->d_wide, (size_t)rows * (size_t)in);
    multiply(d, 1, d_low, rank, s->values + p->place.a, in, rows, d_wide, false);
    d->dropout(d, &dropout, d_wide, F32, rows, in, dx, true);
}
