#include "common/model/backward.h"

#include "common/model/rope.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

struct backward {
    struct model *model;
    struct lora_set *lora;
    struct device *device;

    /* The batch. Spans are of each group its shared prefix, then its sequences in the packed order,
     * of which this part's are those from `first` on. */
    int rows, first, sequences, n_spans, max_position;
    int32_t *order; /* of the whole pass: the caller's number of each in the packed order */
    int32_t *host_tokens, *host_at, *host_last_rows, *host_last_at;
    int32_t *host_numbers, *host_last_numbers;           /* rows' numbers where one part does all */
    struct attention_span *host_spans, *host_last_spans; /* last_*: asked for at last positions */

    /* On the device. */
    int room_rows, room_sequences, room_positions;
    int32_t *tokens, *at, *last_rows, *last_at, *numbers, *last_numbers;
    struct attention_span *spans, *last_spans;
    float *cosine, *sine, *minus_sine; /* [positions, head_dim / 2] */
    float **inputs;                    /* [layers][rows, width]: what each layer was given */
    float *last;                       /* [sequences, width]: the last layer's result */
    float *hidden, *logits;            /* [sequences, width], [sequences, n_classes] */

    /* What a layer computes, kept from its forward to its backward pass. "c" buffers have the
     * compute type. */
    void *norm_c, *norm_last_c; /* [rows, width], [sequences, width] */
    float *x_last;              /* [sequences, width]: input rows at last positions */
    float *q, *k, *v, *lse;     /* [rows, heads or kv_heads * head_dim], [rows, heads] */
    void *attended_c;           /* [rows, heads * head_dim] */
    float *middle;              /* [rows, width]: after attention */
    void *norm2_c;
    float *gate, *up; /* [rows, intermediate] */
    void *act_c;

    /* Gradients. */
    float *dx, *dx_next, *d_norm;     /* [rows, width] */
    float *d_act, *wide;              /* [rows, intermediate] */
    void *d_gate_c, *d_up_c;          /* [rows, intermediate] */
    float *d_attended, *dq, *dk, *dv; /* [rows, ...] */
    float *work;                      /* [rows, heads] */
    void *rounded;                    /* [rows, widest] */
};

/* ---- memory ---- */

struct backward *backward_open(struct model *m)
{
    struct backward *b = xcalloc(1, sizeof *b);
    b->model = m;
    b->lora = m->lora;
    b->device = m->device;
    b->inputs = xcalloc((size_t)m->config->layers, sizeof *b->inputs);
    return b;
}

static void release_rows(struct backward *b)
{
    struct device *d = b->device;
    void *buffers[] = {b->tokens,  b->at,         b->norm_c,  b->q,     b->k,          b->v,
                       b->lse,     b->middle,     b->norm2_c, b->gate,  b->up,         b->act_c,
                       b->dx,      b->d_norm,     b->dx_next, b->d_act, b->wide,       b->d_gate_c,
                       b->d_up_c,  b->dq,         b->dk,      b->dv,    b->d_attended, b->work,
                       b->rounded, b->attended_c, b->numbers};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        d->release(d, buffers[i]);
    for (int i = 0; i < b->model->config->layers; i++)
        d->release(d, b->inputs[i]);
}

static void release_sequences(struct backward *b)
{
    struct device *d = b->device;
    void *buffers[] = {b->last_rows, b->last_at, b->spans,  b->last_spans,  b->last,
                       b->hidden,    b->logits,  b->x_last, b->norm_last_c, b->last_numbers};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        d->release(d, buffers[i]);
}

static void release_positions(struct backward *b)
{
    b->device->release(b->device, b->cosine);
    b->device->release(b->device, b->sine);
    b->device->release(b->device, b->minus_sine);
}

void backward_close(struct backward *b)
{
    release_rows(b);
    release_sequences(b);
    release_positions(b);
    free(b->inputs);
    free(b->order);
    free(b->host_tokens);
    free(b->host_at);
    free(b->host_last_rows);
    free(b->host_last_at);
    free(b->host_numbers);
    free(b->host_last_numbers);
    free(b->host_spans);
    free(b->host_last_spans);
    free(b);
}

static float *floats(struct backward *b, size_t rows, int width)
{
    return b->device->alloc(b->device, rows * (size_t)width * sizeof(float));
}

static void *inputs_of_products(struct backward *b, size_t rows, int width)
{
    return b->device->alloc(b->device, rows * (size_t)width * dtype_size(b->device->compute));
}

static void reserve_rows(struct backward *b)
{
    if (b->rows <= b->room_rows)
        return;
    release_rows(b);
    b->room_rows = b->rows;
    const struct config *c = b->model->config;
    size_t n = (size_t)b->rows;
    int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim, mlp = c->intermediate;
    int widest = c->width > q ? c->width : q;
    b->tokens = b->device->alloc(b->device, n * sizeof *b->tokens);
    b->at = b->device->alloc(b->device, n * sizeof *b->at);
    b->numbers = b->device->alloc(b->device, n * sizeof *b->numbers);
    for (int i = 0; i < c->layers; i++)
        b->inputs[i] = floats(b, n, c->width);
    b->norm_c = inputs_of_products(b, n, c->width);
    b->q = floats(b, n, q);
    b->k = floats(b, n, kv);
    b->v = floats(b, n, kv);
    b->lse = floats(b, n, c->heads);
    b->attended_c = inputs_of_products(b, n, q);
    b->middle = floats(b, n, c->width);
    b->norm2_c = inputs_of_products(b, n, c->width);
    b->gate = floats(b, n, mlp);
    b->up = floats(b, n, mlp);
    b->act_c = inputs_of_products(b, n, mlp);
    b->dx = floats(b, n, c->width);
    b->dx_next = floats(b, n, c->width);
    b->d_norm = floats(b, n, c->width);
    b->d_act = floats(b, n, mlp);
    b->wide = floats(b, n, mlp);
    b->d_gate_c = inputs_of_products(b, n, mlp);
    b->d_up_c = inputs_of_products(b, n, mlp);
    b->d_attended = floats(b, n, q);
    b->dq = floats(b, n, q);
    b->dk = floats(b, n, kv);
    b->dv = floats(b, n, kv);
    b->work = floats(b, n, c->heads);
    b->rounded = inputs_of_products(b, n, widest);
}

static void reserve_sequences(struct backward *b, int most_spans)
{
    if (most_spans <= b->room_sequences)
        return;
    release_sequences(b);
    b->room_sequences = most_spans;
    const struct config *c = b->model->config;
    struct device *d = b->device;
    size_t n = (size_t)most_spans;
    b->last_rows = d->alloc(d, n * sizeof *b->last_rows);
    b->last_at = d->alloc(d, n * sizeof *b->last_at);
    b->last_numbers = d->alloc(d, n * sizeof *b->last_numbers);
    b->spans = d->alloc(d, n * sizeof *b->spans);
    b->last_spans = d->alloc(d, n * sizeof *b->last_spans);
    b->last = floats(b, n, c->width);
    b->hidden = floats(b, n, c->width);
    b->logits = floats(b, n, b->model->n_classes);
    b->x_last = floats(b, n, c->width);
    b->norm_last_c = inputs_of_products(b, n, c->width);
}

static void reserve_positions(struct backward *b)
{
    int positions = b->max_position + 1;
    if (positions <= b->room_positions)
        return;
    release_positions(b);
    struct device *d = b->device;
    const struct config *c = b->model->config;
    size_t n = (size_t)positions * (size_t)c->head_dim / 2;
    b->room_positions = positions;
    b->cosine = d->alloc(d, n * sizeof *b->cosine);
    b->sine = d->alloc(d, n * sizeof *b->sine);
    b->minus_sine = d->alloc(d, n * sizeof *b->minus_sine);
    float *cosine = xreallocarray(NULL, n, sizeof *cosine);
    float *sine = xreallocarray(NULL, n, sizeof *sine);
    rope_tables(c, positions, cosine, sine);
    d->upload(d, b->cosine, cosine, n * sizeof *cosine);
    d->upload(d, b->sine, sine, n * sizeof *sine);
    for (size_t i = 0; i < n; i++)
        sine[i] = -sine[i];
    d->upload(d, b->minus_sine, sine, n * sizeof *sine);
    free(cosine);
    free(sine);
}

/* ---- the batch ---- */

/* Appends the tokens from `first` on of a sequence as a span; its rows have numbers from `number`
 * on. */
static void add_span(struct backward *b, const struct sequence *s, int first, int end, int number,
                     int prefix_row, int last_query)
{
    int n = end - first, row = b->rows;
    for (int i = 0; i < n; i++) {
        b->host_tokens[row + i] = s->tokens[first + i];
        b->host_at[row + i] = first + i;
        b->host_numbers[row + i] = number + i;
    }
    b->rows += n;
    b->max_position = end - 1 > b->max_position ? end - 1 : b->max_position;
    struct attention_span span = {row, n, row, n, prefix_row, first};
    b->host_spans[b->n_spans] = span;
    span.query_row = last_query >= 0 ? last_query : 0;
    span.queries = last_query >= 0;
    b->host_last_spans[b->n_spans++] = span;
}

/* The part that a sequence falls to, `before` of the pass's own tokens standing before its own. */
static int part_of(long before, long own, long all, int parts)
{
    return (int)((2 * before + own) * parts / (2 * all));
}

/* How far packing has come in the whole pass. */
struct progress {
    int number;       /* of the next row */
    long before, all; /* sequences' own tokens so far, and of the pass */
};

/* Those of a group's sequences that are this part's. */
static void add_group(struct backward *b, const struct pass *p, const struct group *group,
                      struct progress *at)
{
    int prefix_row = b->rows, prefix_number = at->number;
    bool begun = false;
    at->number += group->prefix;
    for (int i = group->first; i < group->first + group->count; i++) {
        const struct sequence *s = &p->sequences[b->order[i]];
        int own = s->n - group->prefix;
        if (part_of(at->before, own, at->all, p->parts) == p->part) {
            if (group->prefix && !begun)
                add_span(b, s, 0, group->prefix, prefix_number, 0, -1);
            begun = true;
            if (b->sequences == 0)
                b->first = i;
            add_span(b, s, group->prefix, s->n, at->number, prefix_row, b->sequences);
            b->host_last_rows[b->sequences] = b->rows - 1;
            b->host_last_at[b->sequences] = s->n - 1;
            b->host_last_numbers[b->sequences++] = i;
        }
        at->before += own;
        at->number += own;
    }
}

static void pack(struct backward *b, const struct pass *p)
{
    size_t n = (size_t)p->n, tokens = 0, most_spans = 2 * n;
    for (int i = 0; i < p->n; i++)
        tokens += (size_t)p->sequences[i].n;
    b->order = xreallocarray(b->order, n, sizeof *b->order);
    b->host_tokens = xreallocarray(b->host_tokens, tokens, sizeof *b->host_tokens);
    b->host_at = xreallocarray(b->host_at, tokens, sizeof *b->host_at);
    b->host_numbers = xreallocarray(b->host_numbers, tokens, sizeof *b->host_numbers);
    b->host_last_rows = xreallocarray(b->host_last_rows, n, sizeof *b->host_last_rows);
    b->host_last_at = xreallocarray(b->host_last_at, n, sizeof *b->host_last_at);
    b->host_last_numbers = xreallocarray(b->host_last_numbers, n, sizeof *b->host_last_numbers);
    b->host_spans = xreallocarray(b->host_spans, most_spans, sizeof *b->host_spans);
    b->host_last_spans = xreallocarray(b->host_last_spans, most_spans, sizeof *b->host_last_spans);
    b->rows = b->n_spans = b->max_position = b->first = b->sequences = 0;

    struct group *groups;
    int n_groups = find_groups(p->sequences, p->n, b->order, &groups);
    struct progress at = {.all = (long)tokens};
    for (int g = 0; g < n_groups; g++)
        at.all -= (long)groups[g].count * groups[g].prefix;
    for (int g = 0; g < n_groups; g++)
        add_group(b, p, &groups[g], &at);
    free(groups);
}

/* Sends the packed batch to the device, and tells the adapter of its dropout. */
static void send(struct backward *b, const struct pass *p)
{
    reserve_rows(b);
    reserve_sequences(b, 2 * p->n);
    reserve_positions(b);
    struct device *d = b->device;
    size_t n = (size_t)b->sequences, rows = (size_t)b->rows, spans = (size_t)b->n_spans;
    d->upload(d, b->tokens, b->host_tokens, rows * sizeof *b->tokens);
    d->upload(d, b->at, b->host_at, rows * sizeof *b->at);
    d->upload(d, b->last_rows, b->host_last_rows, n * sizeof *b->last_rows);
    d->upload(d, b->last_at, b->host_last_at, n * sizeof *b->last_at);
    d->upload(d, b->spans, b->host_spans, spans * sizeof *b->spans);
    d->upload(d, b->last_spans, b->host_last_spans, spans * sizeof *b->last_spans);
    struct lora_dropout dropout = {.rate = p->dropout, .seed = p->seed, .pass = p->number};
    if (p->parts > 1) {
        d->upload(d, b->numbers, b->host_numbers, rows * sizeof *b->numbers);
        d->upload(d, b->last_numbers, b->host_last_numbers, n * sizeof *b->last_numbers);
        dropout.numbers = b->numbers;
        dropout.last_numbers = b->last_numbers;
    }
    lora_set_dropout(b->lora, &dropout);
}

/* ---- a layer ---- */

/* From dy by model_project()'s result: the adapter's gradients, and that by x, set or added to dx
 * unless dx is NULL. dy_c is dy in the compute type, or NULL where it is to be made. */
static void project_backward(struct backward *b, int layer, enum projection p, const void *x,
                             const float *dy, const void *dy_c, size_t width, float *dx, int rows,
                             bool accumulate)
{
    struct device *d = b->device;
    if (dx) {
        if (!dy_c && d->compute == F32) {
            dy_c = dy;
        } else if (!dy_c) {
            d->convert(d, dy, F32, b->rounded, d->compute, (size_t)rows * width);
            dy_c = b->rounded;
        }
        d->matmul_backward(d, model_weight(b->model, layer, p), dy_c, dx, rows, accumulate);
    }
    lora_backward(b->lora, layer, p, x, d->compute, rows, dy, dx);
}

static bool is_last(const struct backward *b, int layer)
{
    return layer + 1 == b->model->config->layers;
}

static struct attention attention_of(const struct backward *b, int layer)
{
    const struct config *c = b->model->config;
    bool last = is_last(b, layer);
    return (struct attention){.q = b->q,
                              .k = b->k,
                              .v = b->v,
                              .prefix_k = b->k,
                              .prefix_v = b->v,
                              .spans = last ? b->last_spans : b->spans,
                              .spans_at = last ? b->host_last_spans : b->host_spans,
                              .n_spans = b->n_spans,
                              .heads = c->heads,
                              .kv_heads = c->kv_heads,
                              .head_dim = c->head_dim,
                              .window = c->window[layer],
                              .scale = 1.0f / sqrtf((float)c->head_dim),
                              .out = b->attended_c,
                              .lse = b->lse};
}

/* Computes all that a layer's backward pass needs, and with `out` its result: [rows, width], of the
 * last layer [sequences, width]. */
static void layer_forward(struct backward *b, int layer, float *out)
{
    const struct config *c = b->model->config;
    const struct layer *l = &b->model->layers[layer];
    struct device *d = b->device;
    const float *x = b->inputs[layer];
    bool last = is_last(b, layer);
    int rows = last ? b->sequences : b->rows;
    const int32_t *at = last ? b->last_at : b->at;
    const void *norm_q = b->norm_c;

    d->rmsnorm(d, x, l->attention_norm, c->norm_eps, b->rows, c->width, b->norm_c, d->compute);
    model_project(b->model, layer, K_PROJ, b->norm_c, b->k, b->rows, false);
    model_project(b->model, layer, V_PROJ, b->norm_c, b->v, b->rows, false);
    d->rope(d, b->k, b->rows, c->kv_heads, c->head_dim, b->at, b->cosine, b->sine);
    if (last) {
        d->gather(d, x, b->last_rows, rows, c->width, b->x_last);
        d->rmsnorm(d, b->x_last, l->attention_norm, c->norm_eps, rows, c->width, b->norm_last_c,
                   d->compute);
        norm_q = b->norm_last_c;
        x = b->x_last;
    }
    model_project(b->model, layer, Q_PROJ, norm_q, b->q, rows, false);
    d->rope(d, b->q, rows, c->heads, c->head_dim, at, b->cosine, b->sine);
    struct attention attention = attention_of(b, layer);
    d->attention(d, &attention);
    size_t n = (size_t)rows * (size_t)c->width;
    d->convert(d, x, F32, b->middle, F32, n);
    model_project(b->model, layer, O_PROJ, b->attended_c, b->middle, rows, true);

    d->rmsnorm(d, b->middle, l->mlp_norm, c->norm_eps, rows, c->width, b->norm2_c, d->compute);
    model_project(b->model, layer, GATE_PROJ, b->norm2_c, b->gate, rows, false);
    model_project(b->model, layer, UP_PROJ, b->norm2_c, b->up, rows, false);
    d->swiglu(d, b->gate, b->up, (size_t)rows * (size_t)c->intermediate, b->act_c);
    if (!out)
        return;
    d->convert(d, b->middle, F32, out, F32, n);
    model_project(b->model, layer, DOWN_PROJ, b->act_c, out, rows, true);
}

/* The n elements of dy_c in f32, in `wide`, for the adapter's gradients by this part; NULL where it
 * has none: the largest activations there are would be converted in vain. */
static const float *widened(struct backward *b, int layer, enum projection p, const void *dy_c,
                            size_t n)
{
    struct device *d = b->device;
    if (d->compute == F32)
        return dy_c;
    if (!lora_has(b->lora, layer, p))
        return NULL;
    d->convert(d, dy_c, d->compute, b->wide, F32, n);
    return b->wide;
}

/* dx: the gradient by the layer's result on entry, by `middle` on return. */
static void mlp_backward(struct backward *b, int layer, int rows)
{
    const struct config *c = b->model->config;
    struct device *d = b->device;
    size_t width = (size_t)c->width, mlp = (size_t)c->intermediate, n = (size_t)rows * mlp;
    project_backward(b, layer, DOWN_PROJ, b->act_c, b->dx, NULL, width, b->d_act, rows, false);
    d->swiglu_backward(d, b->gate, b->up, b->d_act, n, b->d_gate_c, b->d_up_c);
    const float *d_gate = widened(b, layer, GATE_PROJ, b->d_gate_c, n);
    project_backward(b, layer, GATE_PROJ, b->norm2_c, d_gate, b->d_gate_c, mlp, b->d_norm, rows,
                     false);
    const float *d_up = widened(b, layer, UP_PROJ, b->d_up_c, n);
    project_backward(b, layer, UP_PROJ, b->norm2_c, d_up, b->d_up_c, mlp, b->d_norm, rows, true);
    d->rmsnorm_backward(d, b->middle, b->model->layers[layer].mlp_norm, c->norm_eps, rows, c->width,
                        b->d_norm, b->dx);
}

/* Leaves the gradients by q, k and v before their rotation, from dx by `middle`. */
static void attention_backward(struct backward *b, int layer, int rows)
{
    const struct config *c = b->model->config;
    struct device *d = b->device;
    const int32_t *at = is_last(b, layer) ? b->last_at : b->at;
    project_backward(b, layer, O_PROJ, b->attended_c, b->dx, NULL, (size_t)c->width, b->d_attended,
                     rows, false);
    d->attention_backward(d, &(struct attention_backward){.forward = attention_of(b, layer),
                                                          .d_out = b->d_attended,
                                                          .dq = b->dq,
                                                          .dk = b->dk,
                                                          .dv = b->dv,
                                                          .d_prefix_k = b->dk,
                                                          .d_prefix_v = b->dv,
                                                          .work = b->work});
    d->rope(d, b->dq, rows, c->heads, c->head_dim, at, b->cosine, b->minus_sine);
    d->rope(d, b->dk, b->rows, c->kv_heads, c->head_dim, b->at, b->cosine, b->minus_sine);
}

/* dx: the gradient by the layer's result on entry, by its input on return, unless the layer is the
 * first: below it there is nothing to train. */
static void layer_backward(struct backward *b, int layer)
{
    const struct config *c = b->model->config;
    struct device *d = b->device;
    const float *gain = b->model->layers[layer].attention_norm;
    bool last = is_last(b, layer);
    int rows = last ? b->sequences : b->rows;
    size_t q = (size_t)(c->heads * c->head_dim), kv = (size_t)(c->kv_heads * c->head_dim);
    mlp_backward(b, layer, rows);
    attention_backward(b, layer, rows);

    float *d_norm = layer ? b->d_norm : NULL;
    project_backward(b, layer, K_PROJ, b->norm_c, b->dk, NULL, kv, d_norm, b->rows, false);
    project_backward(b, layer, V_PROJ, b->norm_c, b->dv, NULL, kv, d_norm, b->rows, true);
    if (!last) {
        project_backward(b, layer, Q_PROJ, b->norm_c, b->dq, NULL, q, d_norm, rows, true);
    } else {
        /* hidden has served: the output matrix comes first on the way back. */
        float *d_last = layer ? b->hidden : NULL;
        project_backward(b, layer, Q_PROJ, b->norm_last_c, b->dq, NULL, q, d_last, rows, false);
        if (layer) {
            d->scatter_add(d, d_last, b->last_rows, rows, c->width, d_norm);
            d->clear(d, b->dx_next, (size_t)b->rows * (size_t)c->width * sizeof *b->dx_next);
            d->scatter_add(d, b->dx, b->last_rows, rows, c->width, b->dx_next);
            float *swap = b->dx;
            b->dx = b->dx_next;
            b->dx_next = swap;
        }
    }
    if (layer)
        d->rmsnorm_backward(d, b->inputs[layer], gain, c->norm_eps, b->rows, c->width, d_norm,
                            b->dx);
}

/* ---- the pass ---- */

struct pass_logits backward_logits(struct backward *b, const struct pass *p)
{
    struct model *m = b->model;
    const struct config *c = m->config;
    struct device *d = b->device;
    pack(b, p);
    int n = b->sequences;
    if (n == 0)
        return (struct pass_logits){0};
    send(b, p);
    d->embed(d, m->embedding, m->embedding_type, c->width, b->tokens, b->rows, b->inputs[0]);
    for (int i = 0; i < c->layers; i++)
        layer_forward(b, i, is_last(b, i) ? b->last : b->inputs[i + 1]);
    d->rmsnorm(d, b->last, m->norm, c->norm_eps, n, c->width, b->hidden, F32);
    d->class_logits(d, b->hidden, n, m->class_rows, m->n_classes, c->width, b->logits);
    lora_forward(b->lora, 0, LM_HEAD, b->hidden, F32, n, b->logits);
    return (struct pass_logits){.logits = b->logits, .order = b->order + b->first, .n = n};
}

void backward_gradients(struct backward *b)
{
    struct model *m = b->model;
    const struct config *c = m->config;
    struct device *d = b->device;
    int n = b->sequences;
    size_t classes = (size_t)m->n_classes, width = (size_t)c->width;
    if (n == 0)
        return;
    d->gemm(d, &(struct matrix_product){.m = n,
                                        .n = c->width,
                                        .k = m->n_classes,
                                        .scale = 1,
                                        .a = b->logits,
                                        .a_step = classes,
                                        .b = m->class_rows,
                                        .b_step = width,
                                        .c = b->d_norm,
                                        .c_step = width});
    lora_backward(b->lora, 0, LM_HEAD, b->hidden, F32, n, b->logits, b->d_norm);
    d->clear(d, b->dx, (size_t)n * width * sizeof *b->dx);
    d->rmsnorm_backward(d, b->last, m->norm, c->norm_eps, n, c->width, b->d_norm, b->dx);
    for (int i = c->layers - 1; i >= 0; i--) {
        if (!is_last(b, i)) /* the last is still there */
            layer_forward(b, i, NULL);
        layer_backward(b, i);
    }
}
