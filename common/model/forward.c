#include "common/model/forward.h"

#include "common/model/ends.h"
#include "common/model/layer.h"
#include "common/util/mem.h"

#include <stdlib.h>

struct forward {
    struct model *model;
    struct lora_set *lora;
    int rows, spans, reads, copies; /* room in the buffers below */

    /* The batch. last_*: the positions that are read at alone. */
    int32_t *tokens, *positions, *last_rows, *last_positions, *copy_rows;
    struct attention_span *span, *last_span;
    struct attention_span *host_span, *host_last_span;
    int32_t *host_last_rows, *host_last_positions;

    struct rotation rotation;
    struct activations activations;
    float *x;      /* [rows, width]: the residual stream */
    float *logits; /* [reads, n_classes] */
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
    struct device *d = f->model->device;
    size_t n = (size_t)rows;
    f->rows = rows;
    f->tokens = again(d, f->tokens, n, sizeof *f->tokens);
    f->positions = again(d, f->positions, n, sizeof *f->positions);
    f->x = again(d, f->x, n * (size_t)f->model->config->width, sizeof *f->x);
}

static void reserve_spans(struct forward *f, int spans)
{
    if (spans <= f->spans)
        return;
    struct device *d = f->model->device;
    size_t n = (size_t)spans;
    f->spans = spans;
    f->span = again(d, f->span, n, sizeof *f->span);
    f->last_span = again(d, f->last_span, n, sizeof *f->last_span);
    f->host_span = xreallocarray(f->host_span, n, sizeof *f->host_span);
    f->host_last_span = xreallocarray(f->host_last_span, n, sizeof *f->host_last_span);
}

static void reserve_reads(struct forward *f, int reads)
{
    if (reads <= f->reads)
        return;
    struct model *m = f->model;
    struct device *d = m->device;
    size_t n = (size_t)reads;
    f->reads = reads;
    f->last_rows = again(d, f->last_rows, n, sizeof *f->last_rows);
    f->last_positions = again(d, f->last_positions, n, sizeof *f->last_positions);
    f->logits = again(d, f->logits, n * (size_t)m->n_classes, sizeof *f->logits);
    f->host_last_rows = xreallocarray(f->host_last_rows, n, sizeof *f->host_last_rows);
    f->host_last_positions =
        xreallocarray(f->host_last_positions, n, sizeof *f->host_last_positions);
}

static void reserve(struct forward *f, const struct batch *b)
{
    const struct config *c = f->model->config;
    struct device *d = f->model->device;
    reserve_rows(f, b->n_tokens);
    reserve_spans(f, b->n_spans);
    reserve_reads(f, b->n_reads);
    if (b->n_copies > f->copies) {
        f->copies = b->n_copies;
        f->copy_rows = again(d, f->copy_rows, (size_t)b->n_copies, sizeof *f->copy_rows);
    }
    rotation_reserve(&f->rotation, d, c, b->max_position + 1, false);
    activations_reserve(&f->activations, d, c, b->n_tokens, b->n_tokens + b->n_copies, b->n_reads,
                        lora_low_width(f->lora), false);
}

struct forward *forward_open(struct model *m, struct lora_set *lora)
{
    struct forward *f = xcalloc(1, sizeof *f);
    f->model = m;
    f->lora = lora;
    return f;
}

void forward_close(struct forward *f)
{
    struct device *d = f->model->device;
    void *buffers[] = {f->tokens, f->positions, f->last_rows, f->last_positions, f->copy_rows,
                       f->span,   f->last_span, f->x,         f->logits};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        d->release(d, buffers[i]);
    rotation_release(&f->rotation, d);
    activations_release(&f->activations, d);
    free(f->host_span);
    free(f->host_last_span);
    free(f->host_last_rows);
    free(f->host_last_positions);
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

/* The spans as attention takes them, and of each the positions that are read at. */
static void find_reads(struct forward *f, const struct batch *b)
{
    for (int i = 0, read = 0; i < b->n_spans; i++) {
        struct attention_span s = f->host_span[i] = batch_span(b, i);
        int first = s.query_row + s.queries - b->reads[i];
        s.query_row = read;
        s.queries = b->reads[i];
        f->host_last_span[i] = s;
        for (int k = 0; k < b->reads[i]; k++, read++) {
            f->host_last_rows[read] = first + k;
            f->host_last_positions[read] = b->positions[first + k];
        }
    }
}

/* Puts the batch and its first residual stream on the device. */
static struct layer_pass begin(struct forward *f, const struct batch *b)
{
    struct model *m = f->model;
    struct device *d = m->device;
    reserve(f, b);
    find_reads(f, b);
    size_t tokens = (size_t)b->n_tokens, spans = (size_t)b->n_spans, reads = (size_t)b->n_reads;
    d->upload(d, f->tokens, b->tokens, tokens * sizeof *b->tokens);
    d->upload(d, f->positions, b->positions, tokens * sizeof *b->positions);
    d->upload(d, f->span, f->host_span, spans * sizeof *f->span);
    d->upload(d, f->last_span, f->host_last_span, spans * sizeof *f->last_span);
    d->upload(d, f->last_rows, f->host_last_rows, reads * sizeof *f->last_rows);
    d->upload(d, f->last_positions, f->host_last_positions, reads * sizeof *f->last_positions);
    if (b->n_copies)
        d->upload(d, f->copy_rows, b->copies, (size_t)b->n_copies * sizeof *f->copy_rows);
    embed_tokens(m, f->tokens, b->n_tokens, f->x);
    return (struct layer_pass){
        .model = m,
        .lora = f->lora,
        .all = {b->n_tokens, f->positions, f->span, f->host_span},
        .last = {b->n_reads, f->last_positions, f->last_span, f->host_last_span},
        .last_rows = f->last_rows,
        .n_spans = b->n_spans,
        .copies = f->copy_rows,
        .n_copies = b->n_copies,
        .rotation = &f->rotation};
}

void forward_prefixes(struct forward *f, const struct batch *b, struct prefix_cache *cache)
{
    struct layer_pass pass = begin(f, b);
    struct activations a = f->activations;
    for (int i = 0; i < f->model->config->layers; i++) {
        a.k = cache->k[i];
        a.v = cache->v[i];
        if (is_last_layer(&pass, i))
            layer_keys(&pass, i, f->x, &a); /* nothing reads what would follow */
        else
            layer_forward(&pass, i, f->x, &a, f->x);
    }
}

void forward_logits(struct forward *f, const struct batch *b, const struct prefix_cache *cache,
                    float *logits, struct vocabulary *all, double *norms)
{
    struct model *m = f->model;
    const struct config *c = m->config;
    struct device *d = m->device;
    struct layer_pass pass = begin(f, b);
    struct activations a = f->activations;
    for (int i = 0; i < c->layers; i++) {
        a.prefix_k = cache ? cache->k[i] : NULL;
        a.prefix_v = cache ? cache->v[i] : NULL;
        layer_forward(&pass, i, f->x, &a, is_last_layer(&pass, i) ? a.last_x : f->x);
    }
    class_logits(m, f->lora, a.last_x, b->n_reads, f->x, f->logits);
    if (all)
        vocabulary_norms(all, f->x, b->n_reads, norms);
    d->download(d, logits, f->logits, (size_t)b->n_reads * (size_t)m->n_classes * sizeof *logits);
}
