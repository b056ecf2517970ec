#include "common/model/lora.h"

#include "common/model/adapter_parts.h"
#include "common/util/mem.h"

#include <stdlib.h>

struct part {
    const struct lora *host;
    int out; /* rows of b: for lm_head, the classes */
    struct lora_place place;
};

/* Working memory of one kind, on the device. */
struct room {
    void *p;
    size_t bytes;
};

struct lora_set {
    struct device *device;
    const struct adapter *adapter;
    struct part *parts;
    float *values, *gradients; /* [n], on the device; gradients: in training alone */
    size_t n;
    uint16_t *rounded; /* [n], on the device: the values in bf16, where that is computed in */
    bool changed;      /* the values have, since they were rounded */
    int32_t *class_tokens;
    int n_classes;
    struct lora_dropout dropout;
    struct room low, d_low, rounded_d_low, work;
    struct room head_low; /* what lora_head() made, until its gradients */
};

static void *reserve(struct lora_set *s, struct room *r, size_t bytes)
{
    if (bytes > r->bytes) {
        s->device->release(s->device, r->p);
        r->p = s->device->alloc(s->device, bytes);
        r->bytes = bytes;
    }
    return r->p;
}

static bool is_head(const struct lora_set *s, size_t part)
{
    return part + 1 == adapter_parts(s->adapter);
}

/* Matrices begin at multiples of this many floats, a cache line's, but for the second and third A
 * of one input; the zeros between them stay. */
enum { ALIGNMENT = 16 };

static size_t aligned(size_t n)
{
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* The parts of one input: their A matrices lie one below the other, as one product takes them. */
static void place_shared(struct lora_set *s, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        struct part *p = &s->parts[i];
        p->host = &s->adapter->parts[i];
        p->out = is_head(s, i) ? s->n_classes : p->host->out;
        if (!p->host->a)
            continue;
        p->place.a = s->n;
        p->place.a_size = (size_t)p->host->rank * (size_t)p->host->in;
        s->n += p->place.a_size;
    }
    s->n = aligned(s->n);
    for (size_t i = first; i < end; i++) {
        struct part *p = &s->parts[i];
        if (!p->host->a)
            continue;
        p->place.b = s->n;
        p->place.b_size = (size_t)p->out * (size_t)p->host->rank;
        s->n = aligned(p->place.b + p->place.b_size);
    }
}

static void place_parts(struct lora_set *s)
{
    size_t n = adapter_parts(s->adapter);
    for (size_t first = 0, end; first < n; first = end) {
        enum projection p = part_projection(s->adapter, first);
        end = first + (size_t)(shared_end(p) - p);
        place_shared(s, first, end);
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
    if (d->compute == BF16)
        s->rounded = d->alloc(d, s->n * sizeof *s->rounded);
    s->changed = true;
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
    d->release(d, s->rounded);
    struct room *rooms[] = {&s->low, &s->d_low, &s->rounded_d_low, &s->work, &s->head_low};
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

static size_t part_number(const struct lora_set *s, int layer, enum projection p)
{
    return (size_t)(adapter_part(s->adapter, layer, p) - s->adapter->parts);
}

bool lora_has(const struct lora_set *s, int layer, enum projection p)
{
    return s->parts[part_number(s, layer, p)].place.a_size;
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

void lora_changed(struct lora_set *s)
{
    s->changed = true;
}

struct lora_place lora_place(const struct lora_set *s, size_t part)
{
    return s->parts[part].place;
}

/* ---- parts of one input ---- */

/* Parts first, ..., end - 1, that take one input in one pass. */
struct shared {
    size_t first, end;
    int before; /* ranks of the layer's parts before them */
    int width;  /* their own */
};

/* The last layer's q is asked for at last positions alone. */
static struct shared shared_of(const struct lora_set *s, int layer, enum projection p)
{
    enum projection first = shared_first(p), end = shared_end(p);
    if (first == Q_PROJ && layer + 1 == s->adapter->layers) {
        first = p == Q_PROJ ? Q_PROJ : K_PROJ;
        end = p == Q_PROJ ? K_PROJ : end;
    }
    size_t at = part_number(s, layer, p) - (size_t)p; /* of the layer's first part */
    struct shared shared = {.first = at + (size_t)first, .end = at + (size_t)end};
    for (size_t i = at; i < shared.end; i++)
        if (s->parts[i].place.a_size)
            *(i < shared.first ? &shared.before : &shared.width) += s->parts[i].host->rank;
    return shared;
}

int lora_low_width(const struct lora_set *s)
{
    int most = 0;
    for (int layer = 0; s && layer < s->adapter->layers; layer++) {
        struct shared last = shared_of(s, layer, DOWN_PROJ);
        most = last.before + last.width > most ? last.before + last.width : most;
    }
    return most;
}

/* Each part is a stream of its own. */
static struct dropout dropout_of(const struct lora_set *s, size_t part)
{
    enum projection p = part_projection(s->adapter, part);
    int layer = (int)(part / LAYER_PROJECTIONS);
    bool all = p != LM_HEAD && (layer + 1 < s->adapter->layers || p == K_PROJ || p == V_PROJ);
    const struct lora_dropout *d = &s->dropout;
    return (struct dropout){.rate = d->rate,
                            .seed = d->seed,
                            .stream = (uint32_t)part,
                            .step = d->pass,
                            .row_numbers = all ? d->rows : d->last_rows};
}

/* What products of a type take of the values from `at` on. */
static const void *operand(struct lora_set *s, enum dtype type, size_t at)
{
    struct device *d = s->device;
    if (type == F32)
        return s->values + at;
    if (s->changed)
        d->convert(d, s->values, F32, s->rounded, BF16, s->n);
    s->changed = false;
    return s->rounded + at;
}

/* Memory for what dropout leaves of n inputs; NULL without dropout. */
static void *dropout_work(struct lora_set *s, size_t n, enum dtype type)
{
    return s->dropout.rate > 0 ? reserve(s, &s->work, n * dtype_size(type)) : NULL;
}

/* low [rows, width] = A x */
static void lower(struct lora_set *s, const struct shared *shared, const void *x, enum dtype type,
                  int rows, float *low)
{
    struct lowering l = {.rows = rows, .type = type, .x = x, .low = low};
    for (size_t i = shared->first; i < shared->end; i++) {
        const struct part *p = &s->parts[i];
        if (!p->place.a_size)
            continue;
        if (l.n == 0) {
            l.in = p->host->in;
            l.a = operand(s, type, p->place.a);
        }
        l.ranks[l.n] = p->host->rank;
        l.dropout[l.n++] = dropout_of(s, i);
    }
    l.work = dropout_work(s, (size_t)l.n * (size_t)rows * (size_t)l.in, type);
    s->device->lower(s->device, &l);
}

/* A part's A x among those of one input: rows `step` elements apart. */
struct low {
    const void *p;
    enum dtype type;
    size_t step;
};

/* y += scale B low */
static void raise(struct lora_set *s, size_t part, const struct low *low, int rows, float *y)
{
    const struct part *p = &s->parts[part];
    s->device->gemm(s->device, &(struct matrix_product){.type = low->type,
                                                        .transpose_b = true,
                                                        .m = rows,
                                                        .n = p->out,
                                                        .k = p->host->rank,
                                                        .scale = p->host->scale,
                                                        .a = low->p,
                                                        .a_step = low->step,
                                                        .b = operand(s, low->type, p->place.b),
                                                        .b_step = (size_t)p->host->rank,
                                                        .c = y,
                                                        .c_step = (size_t)p->out,
                                                        .accumulate = true});
}

/* ---- forward ---- */

/* Where those of one input lie in what a layer keeps. */
static char *shared_low(const struct lora_set *s, const struct shared *shared,
                        const struct lora_low *low)
{
    return (char *)low->p +
           (size_t)low->rows * (size_t)shared->before * dtype_size(s->device->compute);
}

void lora_lower(struct lora_set *s, int layer, enum projection projection, const void *x, int rows,
                const struct lora_low *low)
{
    if (!s || !rows)
        return;
    struct device *d = s->device;
    struct shared shared = shared_of(s, layer, projection);
    if (!shared.width)
        return;
    size_t n = (size_t)rows * (size_t)shared.width;
    void *to = shared_low(s, &shared, low);
    float *sums = d->compute == F32 ? to : reserve(s, &s->low, n * sizeof *sums);
    lower(s, &shared, x, d->compute, rows, sums);
    if (d->compute != F32)
        d->convert(d, sums, F32, to, d->compute, n);
}

static struct low part_low(const struct lora_set *s, int layer, enum projection projection,
                           const struct lora_low *low)
{
    struct shared shared = shared_of(s, layer, projection);
    size_t before = 0, part = part_number(s, layer, projection);
    for (size_t i = shared.first; i < part; i++)
        if (s->parts[i].place.a_size)
            before += (size_t)s->parts[i].host->rank;
    enum dtype type = s->device->compute;
    return (struct low){shared_low(s, &shared, low) + before * dtype_size(type), type,
                        (size_t)shared.width};
}

void lora_raise(struct lora_set *s, int layer, enum projection projection,
                const struct lora_low *low, int rows, float *y)
{
    if (!s || !rows || !lora_has(s, layer, projection))
        return;
    struct low x = part_low(s, layer, projection, low);
    raise(s, part_number(s, layer, projection), &x, rows, y);
}

static struct low head_low(const struct lora_set *s)
{
    size_t rank = (size_t)adapter_part(s->adapter, 0, LM_HEAD)->rank;
    return (struct low){s->head_low.p, F32, rank};
}

void lora_head(struct lora_set *s, const float *x, int rows, float *logits)
{
    if (!s || !rows || !lora_has(s, 0, LM_HEAD))
        return;
    struct shared shared = shared_of(s, 0, LM_HEAD);
    float *sums = reserve(s, &s->head_low, (size_t)rows * (size_t)shared.width * sizeof *sums);
    lower(s, &shared, x, F32, rows, sums);
    struct low low = head_low(s);
    raise(s, shared.first, &low, rows, logits);
}

/* ---- gradients ---- */

/* With low = A x:  dB += scale dy^T low,  d_low = scale dy B,  dA += d_low^T x,  dx += d_low A past
 * dropout. */
static void backward(struct lora_set *s, size_t part, const void *x, const struct low *low,
                     int rows, const void *dy, float *dx)
{
    struct device *d = s->device;
    const struct part *p = &s->parts[part];
    size_t rank = (size_t)p->host->rank, out = (size_t)p->out, n = (size_t)rows * rank;
    enum dtype type = low->type;
    d->gemm(d, &(struct matrix_product){.type = type,
                                        .transpose_a = true,
                                        .m = p->out,
                                        .n = p->host->rank,
                                        .k = rows,
                                        .scale = p->host->scale,
                                        .a = dy,
                                        .a_step = out,
                                        .b = low->p,
                                        .b_step = low->step,
                                        .c = s->gradients + p->place.b,
                                        .c_step = rank,
                                        .accumulate = true});
    float *d_low = reserve(s, &s->d_low, n * sizeof *d_low);
    d->gemm(d, &(struct matrix_product){.type = type,
                                        .m = rows,
                                        .n = p->host->rank,
                                        .k = p->out,
                                        .scale = p->host->scale,
                                        .a = dy,
                                        .a_step = out,
                                        .b = operand(s, type, p->place.b),
                                        .b_step = rank,
                                        .c = d_low,
                                        .c_step = rank});
    struct lowering_backward b = {.rows = rows,
                                  .in = p->host->in,
                                  .rank = p->host->rank,
                                  .type = type,
                                  .x = x,
                                  .a = operand(s, type, p->place.a),
                                  .d_low = d_low,
                                  .dropout = dropout_of(s, part),
                                  .da = s->gradients + p->place.a,
                                  .dx = dx,
                                  .work = dropout_work(s, (size_t)rows * (size_t)p->host->in, F32)};
    if (type != F32) {
        void *rounded = reserve(s, &s->rounded_d_low, n * dtype_size(type));
        d->convert(d, d_low, F32, rounded, type, n);
        b.d_low = rounded;
    }
    d->lower_backward(d, &b);
}

void lora_backward(struct lora_set *s, int layer, enum projection projection, const void *x,
                   const struct lora_low *low, int rows, const void *dy, float *dx)
{
    if (!rows || !lora_has(s, layer, projection))
        return;
    struct low ax = part_low(s, layer, projection, low);
    backward(s, part_number(s, layer, projection), x, &ax, rows, dy, dx);
}

void lora_head_backward(struct lora_set *s, const float *x, int rows, const float *d_logits,
                        float *dx)
{
    if (!rows || !lora_has(s, 0, LM_HEAD))
        return;
    struct low low = head_low(s);
    backward(s, part_number(s, 0, LM_HEAD), x, &low, rows, d_logits, dx);
}
