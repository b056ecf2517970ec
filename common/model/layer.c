#include "common/model/layer.h"

bool is_last_layer(const struct layer_pass *p, int layer)
{
    return layer + 1 == p->model->config->layers;
}

/* The rows that are computed past the layer's keys and values. */
static const struct layer_rows *rows_of(const struct layer_pass *p, int layer)
{
    return is_last_layer(p, layer) ? &p->last : &p->all;
}

/* y[rows, out] = W x + bias + the adapter's part, added to y when accumulate. lora_lower() has been
 * called with x. */
static void project(const struct layer_pass *p, int layer, enum projection projection,
                    const struct activations *a, const void *x, float *y, int rows, bool accumulate)
{
    const struct layer *l = &p->model->layers[layer];
    struct device *d = p->model->device;
    d->matmul(d, l->weights[projection], x, l->biases[projection], y, rows, accumulate);
    lora_raise(p->lora, layer, projection, &a->low, rows, y);
}

bool has_branches(const struct config *c)
{
    return c->norms != NORMS_BEFORE || c->residual_scale < 1 || c->residual_scale > 1;
}

/* The norm of x in the compute type; without a gain, x itself. */
static void norm(const struct layer_pass *p, const float *x, const float *gain, int rows, void *out)
{
    const struct config *c = p->model->config;
    struct device *d = p->model->device;
    if (gain)
        d->rmsnorm(d, x, gain, c->norm_eps, rows, c->width, out, d->compute);
    else
        d->convert(d, x, F32, out, d->compute, (size_t)rows * (size_t)c->width);
}

static void turn(const struct layer_pass *p, const struct rotation_table *t, int dims,
                 const struct layer_rows *rows, int heads, float *x, enum turn turn)
{
    struct device *d = p->model->device;
    d->rope(d, x, rows->n, heads, p->model->config->head_dim, dims, rows->positions, t->cosine,
            turn == TURN ? t->sine : t->minus_sine);
}

void turn_queries(const struct layer_pass *p, int layer, const struct layer_rows *rows, float *q,
                  enum turn to)
{
    const struct config *c = p->model->config;
    int rotary = c->rotary[layer];
    if (rotary != NO_ROTARY)
        turn(p, &p->rotation->queries[rotary], c->rotaries[rotary].dims, rows, c->heads, q, to);
}

void turn_keys(const struct layer_pass *p, int layer, float *k, enum turn to)
{
    const struct config *c = p->model->config;
    int rotary = c->rotary[layer];
    if (rotary != NO_ROTARY)
        turn(p, &p->rotation->keys[rotary], c->rotaries[rotary].dims, &p->all, c->kv_heads, k, to);
}

struct norm_shape qk_norm_shape(const struct config *c, int rows, int heads)
{
    return c->qk_norms == QK_NORMS_OF_HEADS ? (struct norm_shape){rows * heads, c->head_dim}
                                            : (struct norm_shape){rows, heads * c->head_dim};
}

/* Rows of queries or keys, normed where there is a gain. */
static void norm_heads(const struct layer_pass *p, const float *raw, const float *gain, int rows,
                       int heads, float *out)
{
    const struct config *c = p->model->config;
    struct device *d = p->model->device;
    struct norm_shape n = qk_norm_shape(c, rows, heads);
    if (gain)
        d->rmsnorm(d, raw, gain, c->norm_eps, n.rows, n.width, out, F32);
}

/* Keys or values of the rows that spans share, once more past all rows. */
static void copy_keys(const struct layer_pass *p, float *x)
{
    const struct config *c = p->model->config;
    int width = c->kv_heads * c->head_dim;
    if (p->n_copies)
        p->model->device->gather(p->model->device, x, p->copies, p->n_copies, width,
                                 x + (size_t)p->all.n * (size_t)width);
}

void layer_keys(const struct layer_pass *p, int layer, const float *x, const struct activations *a)
{
    const struct layer *l = &p->model->layers[layer];
    int rows = p->all.n;
    norm(p, x, l->attention_norm, rows, a->attention_input);
    lora_lower(p->lora, layer, K_PROJ, a->attention_input, rows, &a->low);
    project(p, layer, K_PROJ, a, a->attention_input, a->raw_k ? a->raw_k : a->k, rows, false);
    project(p, layer, V_PROJ, a, a->attention_input, a->v, rows, false);
    norm_heads(p, a->raw_k ? a->raw_k : a->k, l->k_norm, rows, p->model->config->kv_heads, a->k);
    turn_keys(p, layer, a->k, TURN);
    copy_keys(p, a->k);
    copy_keys(p, a->v);
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
                              .scale = c->attention_scale,
                              .cap = c->attention_cap,
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
    float *raw = a->raw_q ? a->raw_q : a->q;
    project(p, layer, Q_PROJ, a, input, raw, rows->n, false);
    norm_heads(p, raw, p->model->layers[layer].q_norm, rows->n, c->heads, a->q);
    turn_queries(p, layer, rows, a->q, TURN);
    struct attention attention = layer_attention(p, layer, a);
    d->attention(d, &attention);
}

/* The gated linear unit of the gate and up projections of a->mlp_input, and where it is: in one go
 * where the device can, no adapter changes them and nothing is kept, else by way of gate and up. */
static const void *gate(const struct layer_pass *p, int layer, const struct activations *a,
                        int rows)
{
    const struct config *c = p->model->config;
    const struct layer *l = &p->model->layers[layer];
    struct device *d = p->model->device;
    bool adapted =
        p->lora && (lora_has(p->lora, layer, GATE_PROJ) || lora_has(p->lora, layer, UP_PROJ));
    if (d->gated_matmul && !adapted && !a->gated) {
        d->gated_matmul(d, c->activation, l->weights[GATE_PROJ], l->weights[UP_PROJ], a->mlp_input,
                        l->biases[GATE_PROJ], l->biases[UP_PROJ], a->gate, rows);
        return a->gate;
    }
    void *gated = a->gated ? a->gated : a->mlp_input;
    lora_lower(p->lora, layer, GATE_PROJ, a->mlp_input, rows, &a->low);
    project(p, layer, GATE_PROJ, a, a->mlp_input, a->gate, rows, false);
    project(p, layer, UP_PROJ, a, a->mlp_input, a->up, rows, false);
    d->glu(d, c->activation, a->gate, a->up, (size_t)rows * (size_t)c->intermediate, gated);
    return gated;
}

/* to = from, unless they are the same. */
static void copy_rows(const struct layer_pass *p, const float *from, float *to, int rows)
{
    struct device *d = p->model->device;
    if (to != from)
        d->convert(d, from, F32, to, F32, (size_t)rows * (size_t)p->model->config->width);
}

/* to = from + the projection's result, or the norm of that, times the model's scale: no model
 * scales what it norms. branch: where the result is computed, NULL where it is added at once. to:
 * may be from; NULL where nobody asks for it: then the branch alone is computed if it is normed. */
static void add_branch(const struct layer_pass *p, int layer, enum projection projection,
                       const struct activations *a, const void *x, const float *gain, float *branch,
                       const float *from, float *to, int rows)
{
    const struct config *c = p->model->config;
    struct device *d = p->model->device;
    size_t n = (size_t)rows * (size_t)c->width;
    if (!gain && to)
        copy_rows(p, from, to, rows);
    lora_lower(p->lora, layer, projection, x, rows, &a->low);
    if (gain || to)
        project(p, layer, projection, a, x, branch ? branch : to, rows, !branch);
    if (!branch || !to)
        return;
    float *result = gain && from != to ? to : branch;
    if (gain)
        d->rmsnorm(d, branch, gain, c->norm_eps, rows, c->width, result, F32);
    d->add(d, c->residual_scale, result == to ? from : result, to, n);
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
        lora_lower(p->lora, layer, Q_PROJ, input, rows, &a->low);
    }
    attend(p, layer, input, a);
    float *residual = a->residual ? a->residual : x;
    add_branch(p, layer, O_PROJ, a, a->attended, l->attention_out_norm, a->attention_branch, x,
               residual, rows);
    norm(p, residual, l->mlp_norm, rows, a->mlp_input);
    const void *gated = gate(p, layer, a, rows);
    add_branch(p, layer, DOWN_PROJ, a, gated, l->mlp_out_norm, a->mlp_branch, residual, out, rows);
}
