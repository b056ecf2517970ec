#include "common/model/forward.h"

#include "common/model/lora.h"
#include "common/model/rope.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

struct forward {
    struct model *model;
    int rows, spans; /* room in the buffers below */
    int positions;   /* room in the rotation tables */

    /* The batch. */
    int32_t *tokens, *at, *last_rows, *last_at;
    struct attention_span *span, *last_span; /* last_*: each sequence's last position alone */
    struct attention_span *host_last_span;
    int32_t *host_last_rows, *host_last_at;

    /* Activations. "in" is an input of products, in the compute type. */
    float *x;             /* [rows, width]: the residual stream */
    float *x_last;        /* [spans, width]: its rows at last positions */
    void *in;             /* [rows, widest input] */
    float *q, *k, *v;     /* [rows, heads or kv_heads * head_dim] */
    float *gate, *up;     /* [rows, intermediate] */
    float *logits;        /* [spans, n_classes] */
    float *cosine, *sine; /* [positions, head_dim / 2] */
};

/* ---- memory ---- */

static void *again(struct device *d, void *old, size_t count, size_t size)
{
    d->release(d, old);
    return d->alloc(d, count * size);
}

static void reserve_rows(struct forward *f, int rows)
{
    if (rows <= f->rows)
        return;
    const struct config *c = f->model->config;
    struct device *d = f->model->device;
    size_t n = (size_t)rows, q = (size_t)(c->heads * c->head_dim);
    size_t kv = (size_t)(c->kv_heads * c->head_dim), mlp = (size_t)c->intermediate;
    size_t widest = (size_t)c->width > q ? (size_t)c->width : q;
    widest = mlp > widest ? mlp : widest;
    f->rows = rows;
    f->tokens = again(d, f->tokens, n, sizeof *f->tokens);
    f->at = again(d, f->at, n, sizeof *f->at);
    f->x = again(d, f->x, n * (size_t)c->width, sizeof *f->x);
    f->in = again(d, f->in, n * widest, dtype_size(d->compute));
    f->q = again(d, f->q, n * q, sizeof *f->q);
    f->k = again(d, f->k, n * kv, sizeof *f->k);
    f->v = again(d, f->v, n * kv, sizeof *f->v);
    f->gate = again(d, f->gate, n * mlp, sizeof *f->gate);
    f->up = again(d, f->up, n * mlp, sizeof *f->up);
}

static void reserve_spans(struct forward *f, int spans)
{
    if (spans <= f->spans)
        return;
    struct model *m = f->model;
    struct device *d = m->device;
    size_t n = (size_t)spans;
    f->spans = spans;
    f->span = again(d, f->span, n, sizeof *f->span);
    f->last_span = again(d, f->last_span, n, sizeof *f->last_span);
    f->last_rows = again(d, f->last_rows, n, sizeof *f->last_rows);
    f->last_at = again(d, f->last_at, n, sizeof *f->last_at);
    f->x_last = again(d, f->x_last, n * (size_t)m->config->width, sizeof *f->x_last);
    f->logits = again(d, f->logits, n * (size_t)m->n_classes, sizeof *f->logits);
    f->host_last_span = xreallocarray(f->host_last_span, n, sizeof *f->host_last_span);
    f->host_last_rows = xreallocarray(f->host_last_rows, n, sizeof *f->host_last_rows);
    f->host_last_at = xreallocarray(f->host_last_at, n, sizeof *f->host_last_at);
}

/* Tables of cosines and sines up to the longest position met. */
static void reserve_positions(struct forward *f, int positions)
{
    if (positions <= f->positions)
        return;
    const struct config *c = f->model->config;
    struct device *d = f->model->device;
    positions = positions > 2 * f->positions ? positions : 2 * f->positions;
    size_t n = (size_t)positions * (size_t)c->head_dim / 2;
    float *cosine = xreallocarray(NULL, n, sizeof *cosine);
    float *sine = xreallocarray(NULL, n, sizeof *sine);
    rope_tables(c, positions, cosine, sine);
    f->positions = positions;
    f->cosine = again(d, f->cosine, n, sizeof *f->cosine);
    f->sine = again(d, f->sine, n, sizeof *f->sine);
    d->upload(d, f->cosine, cosine, n * sizeof *cosine);
    d->upload(d, f->sine, sine, n * sizeof *sine);
    free(cosine);
    free(sine);
}

struct forward *forward_open(struct model *m)
{
    struct forward *f = xcalloc(1, sizeof *f);
    f->model = m;
    return f;
}

void forward_close(struct forward *f)
{
    struct device *d = f->model->device;
    void *buffers[] = {f->tokens, f->at,     f->last_rows, f->last_at, f->span, f->last_span,
                       f->x,      f->x_last, f->in,        f->q,       f->k,    f->v,
                       f->gate,   f->up,     f->logits,    f->cosine,  f->sine};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        d->release(d, buffers[i]);
    free(f->host_last_span);
    free(f->host_last_rows);
    free(f->host_last_at);
    free(f);
}

void prefix_cache_reserve(struct prefix_cache *c, const struct model *m, int rows)
{
    if (rows <= c->rows)
        return;
    prefix_cache_free(c, m);
    size_t layers = (size_t)m->config->layers;
    size_t bytes =
        (size_t)rows * (size_t)(m->config->kv_heads * m->config->head_dim) * sizeof(float);
    c->rows = rows;
    c->k = xcalloc(layers, sizeof *c->k);
    c->v = xcalloc(layers, sizeof *c->v);
    for (size_t i = 0; i < layers; i++) {
        c->k[i] = m->device->alloc(m->device, bytes);
        c->v[i] = m->device->alloc(m->device, bytes);
    }
}

void prefix_cache_free(struct prefix_cache *c, const struct model *m)
{
    for (int i = 0; c->rows && i < m->config->layers; i++) {
        m->device->release(m->device, c->k[i]);
        m->device->release(m->device, c->v[i]);
    }
    free(c->k);
    free(c->v);
    *c = (struct prefix_cache){0};
}

/* ---- the pass ---- */

/* Puts the batch and its first residual stream on the device. */
static void begin(struct forward *f, const struct batch *b)
{
    struct model *m = f->model;
    struct device *d = m->device;
    reserve_rows(f, b->n_tokens);
    reserve_spans(f, b->n_spans);
    reserve_positions(f, b->max_position + 1);
    for (int i = 0; i < b->n_spans; i++) {
        const struct attention_span *s = &b->spans[i];
        f->host_last_rows[i] = s->query_row + s->queries - 1;
        f->host_last_at[i] = b->positions[f->host_last_rows[i]];
        f->host_last_span[i] = *s;
        f->host_last_span[i].query_row = i;
        f->host_last_span[i].queries = 1;
    }
    size_t tokens = (size_t)b->n_tokens, spans = (size_t)b->n_spans;
    d->upload(d, f->tokens, b->tokens, tokens * sizeof *b->tokens);
    d->upload(d, f->at, b->positions, tokens * sizeof *b->positions);
    d->upload(d, f->span, b->spans, spans * sizeof *b->spans);
    d->upload(d, f->last_span, f->host_last_span, spans * sizeof *f->last_span);
    d->upload(d, f->last_rows, f->host_last_rows, spans * sizeof *f->last_rows);
    d->upload(d, f->last_at, f->host_last_at, spans * sizeof *f->last_at);
    d->embed(d, m->embedding, m->embedding_type, m->config->width, f->tokens, b->n_tokens, f->x);
}

/* in = norm(x); k, v = its keys, rotated, and values. */
static void keys_values(struct forward *f, int layer, int rows, float *k, float *v)
{
    const struct config *c = f->model->config;
    struct device *d = f->model->device;
    d->rmsnorm(d, f->x, f->model->layers[layer].attention_norm, c->norm_eps, rows, c->width, f->in,
               d->compute);
    model_project(f->model, layer, K_PROJ, f->in, k, rows, false);
    model_project(f->model, layer, V_PROJ, f->in, v, rows, false);
    d->rope(d, k, rows, c->kv_heads, c->head_dim, f->at, f->cosine, f->sine);
}

/* x += attention's part, for the rows whose norms are in `in`. a says which keys and spans. */
static void attend(struct forward *f, int layer, struct attention *a, float *x, int rows,
                   const int32_t *positions)
{
    const struct config *c = f->model->config;
    struct device *d = f->model->device;
    model_project(f->model, layer, Q_PROJ, f->in, f->q, rows, false);
    d->rope(d, f->q, rows, c->heads, c->head_dim, positions, f->cosine, f->sine);
    a->q = f->q;
    a->heads = c->heads;
    a->kv_heads = c->kv_heads;
    a->head_dim = c->head_dim;
    a->scale = 1.0f / sqrtf((float)c->head_dim);
    a->out = f->in;
    d->attention(d, a);
    model_project(f->model, layer, O_PROJ, f->in, x, rows, true);
}

/* x += the MLP's part. */
static void mlp(struct forward *f, int layer, float *x, int rows)
{
    const struct config *c = f->model->config;
    struct device *d = f->model->device;
    d->rmsnorm(d, x, f->model->layers[layer].mlp_norm, c->norm_eps, rows, c->width, f->in,
               d->compute);
    const void *gated = model_gate(f->model, layer, f->in, f->gate, f->up, rows);
    model_project(f->model, layer, DOWN_PROJ, gated, x, rows, true);
}

void forward_prefixes(struct forward *f, const struct batch *b, struct prefix_cache *c)
{
    struct model *m = f->model;
    begin(f, b);
    for (int i = 0; i < m->config->layers; i++) {
        keys_values(f, i, b->n_tokens, c->k[i], c->v[i]);
        if (i + 1 == m->config->layers)
            break; /* nothing reads what would follow */
        struct attention a = {.k = c->k[i],
                              .v = c->v[i],
                              .spans = f->span,
                              .spans_at = b->spans,
                              .n_spans = b->n_spans,
                              .window = m->config->window[i]};
        attend(f, i, &a, f->x, b->n_tokens, f->at);
        mlp(f, i, f->x, b->n_tokens);
    }
}

void forward_logits(struct forward *f, const struct batch *b, const struct prefix_cache *cache,
                    float *logits)
{
    struct model *m = f->model;
    const struct config *c = m->config;
    struct device *d = m->device;
    begin(f, b);
    for (int i = 0; i < c->layers; i++) {
        keys_values(f, i, b->n_tokens, f->k, f->v);
        struct attention a = {.k = f->k,
                              .v = f->v,
                              .prefix_k = cache ? cache->k[i] : NULL,
                              .prefix_v = cache ? cache->v[i] : NULL,
                              .spans = f->span,
                              .spans_at = b->spans,
                              .n_spans = b->n_spans,
                              .window = c->window[i]};
        if (i + 1 < c->layers) {
            attend(f, i, &a, f->x, b->n_tokens, f->at);
            mlp(f, i, f->x, b->n_tokens);
            continue;
        }
        /* Past the last layer's keys and values only last positions matter. */
        a.spans = f->last_span;
        a.spans_at = f->host_last_span;
        d->gather(d, f->x, f->last_rows, b->n_spans, c->width, f->x_last);
        d->rmsnorm(d, f->x_last, m->layers[i].attention_norm, c->norm_eps, b->n_spans, c->width,
                   f->in, d->compute);
        attend(f, i, &a, f->x_last, b->n_spans, f->last_at);
        mlp(f, i, f->x_last, b->n_spans);
    }
    d->rmsnorm(d, f->x_last, m->norm, c->norm_eps, b->n_spans, c->width, f->x, F32);
    d->class_logits(d, f->x, b->n_spans, m->class_rows, m->n_classes, c->width, f->logits);
    lora_forward(m->lora, 0, LM_HEAD, f->x, F32, b->n_spans, f->logits);
    d->download(d, logits, f->logits, (size_t)b->n_spans * (size_t)m->n_classes * sizeof *logits);
}
