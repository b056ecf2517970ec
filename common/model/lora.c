#include "common/model/lora.h"

#include "common/util/mem.h"

#include <stdlib.h>

struct part {
    const struct lora *host;
    int out;                                /* rows of b: for lm_head, the classes */
    float *a, *b, *a_gradient, *b_gradient; /* on the device; NULL where there is no such part */
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
    int32_t *class_tokens;
    int n_classes;
    struct dropout dropout;
    struct room wide, dropped, low, d_low, d_wide;
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

static size_t a_size(const struct part *p)
{
    return (size_t)p->host->rank * (size_t)p->host->in;
}

static size_t b_size(const struct part *p)
{
    return (size_t)p->out * (size_t)p->host->rank;
}

static bool is_head(const struct lora_set *s, size_t part)
{
    return part + 1 == adapter_parts(s->adapter);
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
    for (size_t i = 0; i < adapter_parts(a); i++) {
        struct part *p = &s->parts[i];
        p->host = &a->parts[i];
        p->out = is_head(s, i) ? n_classes : p->host->out;
        if (!p->host->a)
            continue;
        p->a = d->alloc(d, a_size(p) * sizeof(float));
        p->b = d->alloc(d, b_size(p) * sizeof(float));
    }
    lora_refresh(s);
    return s;
}

void lora_refresh(struct lora_set *s)
{
    struct device *d = s->device;
    for (size_t i = 0; i < adapter_parts(s->adapter); i++) {
        const struct part *p = &s->parts[i];
        if (!p->a)
            continue;
        d->upload(d, p->a, p->host->a, a_size(p) * sizeof(float));
        size_t rank = (size_t)p->host->rank;
        if (!is_head(s, i)) {
            d->upload(d, p->b, p->host->b, b_size(p) * sizeof(float));
            continue;
        }
        for (int c = 0; c < s->n_classes; c++)
            d->upload(d, p->b + (size_t)c * rank, p->host->b + (size_t)s->class_tokens[c] * rank,
                      rank * sizeof(float));
    }
}

void lora_free(struct lora_set *s)
{
    struct device *d = s->device;
    for (size_t i = 0; i < adapter_parts(s->adapter); i++) {
        d->release(d, s->parts[i].a);
        d->release(d, s->parts[i].b);
        d->release(d, s->parts[i].a_gradient);
        d->release(d, s->parts[i].b_gradient);
    }
    struct room *rooms[] = {&s->wide, &s->dropped, &s->low, &s->d_low, &s->d_wide};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        d->release(d, rooms[i]->p);
    free(s->parts);
    free(s->class_tokens);
    free(s);
}

/* The part and its number as a stream of dropout; NULL where the adapter has none. */
static const struct part *find(const struct lora_set *s, int layer, enum projection projection,
                               struct dropout *dropout)
{
    size_t i = (size_t)(adapter_part(s->adapter, layer, projection) - s->adapter->parts);
    *dropout = s->dropout;
    dropout->stream = (uint32_t)i;
    return s->parts[i].a ? &s->parts[i] : NULL;
}

/* What A multiplies: x as f32, after dropout. */
static const float *input(struct lora_set *s, const struct part *p, const struct dropout *dropout,
                          const void *x, enum dtype type, int rows)
{
    struct device *d = s->device;
    size_t n = (size_t)rows * (size_t)p->host->in;
    if (type != F32) {
        float *wide = reserve(s, &s->wide, n);
        d->convert(d, x, type, wide, F32, n);
        x = wide;
    }
    if (dropout->rate > 0) {
        float *dropped = reserve(s, &s->dropped, n);
        d->dropout(d, dropout, x, rows, p->host->in, dropped, false);
        x = dropped;
    }
    return x;
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
                                                        .b = p->a,
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
                                                        .b = p->b,
                                                        .b_step = rank,
                                                        .c = y,
                                                        .c_step = (size_t)p->out,
                                                        .accumulate = true});
}

void lora_set_dropout(struct lora_set *s, double rate, uint64_t seed, uint32_t step)
{
    s->dropout = (struct dropout){.rate = rate, .seed = seed, .step = step};
}

void lora_clear_gradients(struct lora_set *s)
{
    struct device *d = s->device;
    for (size_t i = 0; i < adapter_parts(s->adapter); i++) {
        struct part *p = &s->parts[i];
        if (!p->a)
            continue;
        if (!p->a_gradient) {
            p->a_gradient = d->alloc(d, a_size(p) * sizeof(float));
            p->b_gradient = d->alloc(d, b_size(p) * sizeof(float));
        }
        d->clear(d, p->a_gradient, a_size(p) * sizeof(float));
        d->clear(d, p->b_gradient, b_size(p) * sizeof(float));
    }
}

void lora_backward(struct lora_set *s, int layer, enum projection projection, const void *x,
                   enum dtype type, int rows, const float *dy, float *dx)
{
    struct dropout dropout;
    const struct part *p = find(s, layer, projection, &dropout);
    if (!p || !rows)
        return;
    struct device *d = s->device;
    int rank = p->host->rank, in = p->host->in;
    const float *wide = input(s, p, &dropout, x, type, rows), *low = lower(s, p, wide, rows);
    float *d_low = reserve(s, &s->d_low, (size_t)rows * (size_t)rank);
    /* dB += scale dy^T low */
    d->gemm(d, &(struct matrix_product){.transpose_a = true,
                                        .m = p->out,
                                        .n = rank,
                                        .k = rows,
                                        .scale = p->host->scale,
                                        .a = dy,
                                        .a_step = (size_t)p->out,
                                        .b = low,
                                        .b_step = (size_t)rank,
                                        .c = p->b_gradient,
                                        .c_step = (size_t)rank,
                                        .accumulate = true});
    /* d_low = scale dy B */
    d->gemm(d, &(struct matrix_product){.m = rows,
                                        .n = rank,
                                        .k = p->out,
                                        .scale = p->host->scale,
                                        .a = dy,
                                        .a_step = (size_t)p->out,
                                        .b = p->b,
                                        .b_step = (size_t)rank,
                                        .c = d_low,
                                        .c_step = (size_t)rank});
    /* dA += d_low^T x */
    d->gemm(d, &(struct matrix_product){.transpose_a = true,
                                        .m = rank,
                                        .n = in,
                                        .k = rows,
                                        .scale = 1,
                                        .a = d_low,
                                        .a_step = (size_t)rank,
                                        .b = wide,
                                        .b_step = (size_t)in,
                                        .c = p->a_gradient,
                                        .c_step = (size_t)in,
                                        .accumulate = true});
    if (!dx)
        return;
    /* dx += d_low A, past dropout */
    bool drops = dropout.rate > 0;
    float *d_wide = drops ? reserve(s, &s->d_wide, (size_t)rows * (size_t)in) : dx;
    d->gemm(d, &(struct matrix_product){.m = rows,
                                        .n = in,
                                        .k = rank,
                                        .scale = 1,
                                        .a = d_low,
                                        .a_step = (size_t)rank,
                                        .b = p->a,
                                        .b_step = (size_t)in,
                                        .c = d_wide,
                                        .c_step = (size_t)in,
                                        .accumulate = !drops});
    if (drops)
        d->dropout(d, &dropout, d_wide, rows, in, dx, true);
}

void lora_gradients(struct lora_set *s, size_t part, float *a, float *b)
{
    struct device *d = s->device;
    const struct part *p = &s->parts[part];
    d->download(d, a, p->a_gradient, a_size(p) * sizeof *a);
    if (!is_head(s, part)) {
        d->download(d, b, p->b_gradient, b_size(p) * sizeof *b);
        return;
    }
    size_t rank = (size_t)p->host->rank;
    for (int c = 0; c < s->n_classes; c++)
        d->download(d, b + (size_t)s->class_tokens[c] * rank, p->b_gradient + (size_t)c * rank,
                    rank * sizeof *b);
}
