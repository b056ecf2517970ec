/* Room for what a layer computes, on its device. */
#include "common/model/layer.h"

static int larger(int a, int b)
{
    return a > b ? a : b;
}

static float *floats(struct device *d, int rows, int width)
{
    return d->alloc(d, (size_t)rows * (size_t)width * sizeof(float));
}

/* In the compute type. */
static void *inputs(struct device *d, int rows, int width)
{
    return d->alloc(d, (size_t)rows * (size_t)width * dtype_size(d->compute));
}

/* Releases each but those that stand for one before them. */
static void release_all(struct device *d, void **buffers, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool again = false;
        for (size_t k = 0; k < i; k++)
            again = again || buffers[k] == buffers[i];
        if (!again)
            d->release(d, buffers[i]);
    }
}

void activations_release(struct activations *a, struct device *d)
{
    void *buffers[] = {a->attention_input,
                       a->last_x,
                       a->last_input,
                       a->q,
                       a->k,
                       a->v,
                       a->lse,
                       a->attended,
                       a->gate,
                       a->up,
                       a->residual,
                       a->mlp_input,
                       a->gated,
                       a->raw_q,
                       a->raw_k,
                       a->attention_branch,
                       a->mlp_branch,
                       a->low.p};
    release_all(d, buffers, sizeof buffers / sizeof *buffers);
    *a = (struct activations){0};
}

void activations_reserve(struct activations *a, struct device *d, const struct config *c, int rows,
                         int keys, int last, int low_width, bool keep)
{
    if (rows <= a->rows && keys <= a->keys && last <= a->last)
        return;
    rows = larger(rows, a->rows);
    keys = larger(keys, a->keys);
    last = larger(last, a->last);
    activations_release(a, d);
    int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    a->rows = rows;
    a->keys = keys;
    a->last = last;
    a->attention_input =
        inputs(d, rows, keep ? c->width : larger(larger(c->width, q), c->intermediate));
    a->last_x = floats(d, last, c->width);
    a->last_input = a->attended = a->mlp_input = a->attention_input;
    a->q = floats(d, rows, q);
    a->k = floats(d, keys, kv);
    a->v = floats(d, keys, kv);
    a->gate = floats(d, rows, c->intermediate);
    a->up = floats(d, rows, c->intermediate);
    int low_rows = larger(rows, last); /* of the last layer's q last positions */
    a->low = (struct lora_low){low_width ? inputs(d, low_rows, low_width) : NULL, low_rows};
    if (has_branches(c))
        a->attention_branch = a->mlp_branch = floats(d, rows, c->width);
    if (!keep)
        return;
    if (c->norms != NORMS_BEFORE)
        a->mlp_branch = floats(d, rows, c->width);
    if (c->qk_norms != NO_QK_NORMS) {
        a->raw_q = floats(d, rows, q);
        a->raw_k = floats(d, rows, kv);
    }
    a->last_input = inputs(d, last, c->width);
    a->attended = inputs(d, rows, q);
    a->mlp_input = inputs(d, rows, c->width);
    a->lse = floats(d, rows, c->heads);
    a->residual = floats(d, rows, c->width);
    a->gated = inputs(d, rows, c->intermediate);
    a->prefix_k = a->k;
    a->prefix_v = a->v;
}

void gradients_release(struct gradients *g, struct device *d)
{
    void *buffers[] = {g->dx,       g->next, g->norm, g->gated, g->gate,    g->up,    g->q,
                       g->attended, g->k,    g->v,    g->work,  g->rounded, g->branch};
    release_all(d, buffers, sizeof buffers / sizeof *buffers);
    *g = (struct gradients){0};
}

void gradients_reserve(struct gradients *g, struct device *d, const struct config *c, int rows,
                       int keys)
{
    if (rows <= g->rows && keys <= g->keys)
        return;
    rows = larger(rows, g->rows);
    keys = larger(keys, g->keys);
    gradients_release(g, d);
    int q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    g->rows = rows;
    g->keys = keys;
    g->dx = floats(d, rows, c->width);
    g->next = floats(d, rows, c->width);
    g->norm = floats(d, rows, c->width);
    g->gated = floats(d, rows, c->intermediate);
    g->gate = inputs(d, rows, c->intermediate);
    g->up = inputs(d, rows, c->intermediate);
    g->attended = floats(d, rows, q);
    g->q = floats(d, rows, q);
    g->k = floats(d, keys, kv);
    g->v = floats(d, keys, kv);
    g->work = floats(d, rows, c->heads);
    /* Gradients by gate and up come in the compute type. */
    g->rounded = inputs(d, rows, larger(c->width, q));
    if (has_branches(c))
        g->branch = floats(d, rows, c->width);
}
