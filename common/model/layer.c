#include "common/model/layer.h"

#include <math.h>

bool is_last_layer(const struct layer_pass *p, int layer)
{
    return layer + 1 == p->model->config->layers;
}

/* The rows that are computed past the layer's keys and values. */
static const struct layer_rows *rows_of(const struct layer_pass *p, int layer)
{
    return is_last_layer(p, layer) ? &p->last : &p->all;
}

/* y[rows, out] = W x + bias + the adapter's part, added to y when accumulate. */
static void project(const struct layer_pass *p, int layer, enum projection projection,
                    const void *x, float *y, int rows, bool accumulate)
{
    const struct layer *l = &p->model->layers[layer];
    struct device *d = p->model->device;
    d->matmul(d, l->weights[projection], x, l->biases[projection], y, rows, accumulate);
    lora_forward(p->lora, layer, projection, x, d->compute, rows, y);
}

static void norm(const struct layer_pass *p, const float *x, const float *gain, int rows, void *out)
{
    const struct config *c = p->model->config;
    struct device *d = p->model->device;
    d->rmsnorm(d, x, gain, c->norm_eps, rows, c->width, out, d->compute);
}

void layer_keys(const struct layer_pass *p, int layer, const float *x, const struct activations *a)
{
    const struct config *c = p->model->config;
    struct device *d = p->model->device;
    int rows = p->all.n;
    norm(p, x, p->model->layers[layer].attention_norm, rows, a->attention_input);
    project(p, layer, K_PROJ, a->attention_input, a->k, rows, false);
    project(p, layer, V_PROJ, a->attention_input, a->v, rows, false);
    d->rope(d, a->k, rows, c->kv_heads, c->head_dim, p->all.positions, p->rotation->cosine,
            p->rotation->sine);
}

struct attention layer_attention(const struct layer_pass *p, int layer, const struct activations *a)
{
    const struct config *c = p->model->config;
    const struct layer_rows *rows = rows_of(p, layer);
    return (struct attention){.q = a->q,
                              .k = a->k,
                              .v = a->v,
                              .prefix_k = a->prefix_k,
                              .prefix_v = a->prefix_v,
                              .spans = rows->spans,
                              .spans_at = rows->host_spans,
                              .n_spans = p->n_spans,
                              .heads = c->heads,
                              .kv_heads = c->kv_heads,
                              .head_dim = c->head_dim,
                              .window = c->window[layer],
                              .scale = 1.0f / sqrtf((float)c->head_dim),
                              .out = a->attended,
                              .lse = a->lse};
}

/* a->attended, from the norms in `input`. */
static void attend(const struct layer_pass *p, int layer, const void *input,
                   const struct activations *a)
{
    const struct config *c = p->model->config;
    const struct layer_rows *rows = rows_of(p, layer);
    struct device *d = p->model->device;
    project(p, layer, Q_PROJ, input, a->q, rows->n, false);
    d->rope(d, a->q, rows->n, c->heads, c->head_dim, rows->positions, p->rotation->cosine,
            p->rotation->sine);
    struct attention attention = layer_attention(p, layer, a);
    d->attention(d, &attention);
}

/* SwiGLU of the gate and up projections of a->mlp_input, and where it is: in one go where the
 * device can, no adapter changes them and nothing is kept, else by way of gate and up. */
static const void *gate(const struct layer_pass *p, int layer, const struct activations *a,
                        int rows)
{
    const struct layer *l = &p->model->layers[layer];
    struct device *d = p->model->device;
    bool adapted =
        p->lora && (lora_has(p->lora, layer, GATE_PROJ) || lora_has(p->lora, layer, UP_PROJ));
    if (d->gated_matmul && !adapted && !a->gated) {
        d->gated_matmul(d, l->weights[GATE_PROJ], l->weights[UP_PROJ], a->mlp_input,
                        l->biases[GATE_PROJ], l->biases[UP_PROJ], a->gate, rows);
        return a->gate;
    }
    void *gated = a->gated ? a->gated : a->mlp_input;
    project(p, layer, GATE_PROJ, a->mlp_input, a->gate, rows, false);
    project(p, layer, UP_PROJ, a->mlp_input, a->up, rows, false);
    d->swiglu(d, a->gate, a->up, (size_t)rows * (size_t)p->model->config->intermediate, gated);
    return gated;
}

/* to = from, unless they are the same. */
static void copy_rows(const struct layer_pass *p, const float *from, float *to, int rows)
{
    struct device *d = p->model->device;
    if (to != from)
        d->convert(d, from, F32, to, F32, (size_t)rows * (size_t)p->model->config->width);
}

void layer_forward(const struct layer_pass *p, int layer, float *x, const struct activations *a,
                   float *out)
{
    const struct layer *l = &p->model->layers[layer];
    struct device *d = p->model->device;
    int rows = rows_of(p, layer)->n;
    const void *input = a->attention_input;
    layer_keys(p, layer, x, a);
    if (is_last_layer(p, layer)) {
        d->gather(d, x, p->last_rows, rows, p->model->config->width, a->last_x);
        x = a->last_x;
        norm(p, x, l->attention_norm, rows, a->last_input);
        input = a->last_input;
    }
    attend(p, layer, input, a);
    float *residual = a->residual ? a->residual : x;
    copy_rows(p, x, residual, rows);
    project(p, layer, O_PROJ, a->attended, residual, rows, true);
    norm(p, residual, l->mlp_norm, rows, a->mlp_input);
    const void *gated = gate(p, layer, a, rows);
    if (!out)
        return;
    copy_rows(p, residual, out, rows);
    project(p, layer, DOWN_PROJ, gated, out, rows, true);
}
