#include "common/model/layer.h"

/* From dy by project()'s result: the adapter's gradients, and that by x, set or added to dx unless
 * dx is NULL. width: dy's. dy_c is dy in the compute type, or NULL where it is to be made. */
static void project_backward(const struct layer_pass *p, int layer, enum projection projection,
                             const void *x, const float *dy, const void *dy_c, float *dx, int rows,
                             bool accumulate, struct gradients *g)
{
    struct device *d = p->model->device;
    int width = projection_shape(p->model->config, projection).out;
    if (dx) {
        if (!dy_c && d->compute == F32) {
            dy_c = dy;
        } else if (!dy_c) {
            d->convert(d, dy, F32, g->rounded, d->compute, (size_t)rows * (size_t)width);
            dy_c = g->rounded;
        }
        d->matmul_backward(d, p->model->layers[layer].weights[projection], dy_c, dx, rows,
                           accumulate);
    }
    lora_backward(p->lora, layer, projection, x, d->compute, rows, dy, dx);
}

/* The n elements of dy_c in f32, in g->wide, for the adapter's gradients by this part; NULL where
 * it has none: the largest activations there are would be converted in vain. */
static const float *widened(const struct layer_pass *p, int layer, enum projection projection,
                            const void *dy_c, size_t n, struct gradients *g)
{
    struct device *d = p->model->device;
    if (d->compute == F32)
        return dy_c;
    if (!lora_has(p->lora, layer, projection))
        return NULL;
    d->convert(d, dy_c, d->compute, g->wide, F32, n);
    return g->wide;
}

/* g->dx: the gradient by the layer's result on entry, by the residual on return. */
static void mlp_backward(const struct layer_pass *p, int layer, const struct activations *a,
                         int rows, struct gradients *g)
{
    const struct config *c = p->model->config;
    struct device *d = p->model->device;
    size_t n = (size_t)rows * (size_t)c->intermediate;
    project_backward(p, layer, DOWN_PROJ, a->gated, g->dx, NULL, g->gated, rows, false, g);
    d->swiglu_backward(d, a->gate, a->up, g->gated, n, g->gate, g->up);
    const float *d_gate = widened(p, layer, GATE_PROJ, g->gate, n, g);
    project_backward(p, layer, GATE_PROJ, a->mlp_input, d_gate, g->gate, g->norm, rows, false, g);
    const float *d_up = widened(p, layer, UP_PROJ, g->up, n, g);
    project_backward(p, layer, UP_PROJ, a->mlp_input, d_up, g->up, g->norm, rows, true, g);
    d->rmsnorm_backward(d, a->residual, p->model->layers[layer].mlp_norm, c->norm_eps, rows,
                        c->width, g->norm, g->dx);
}

/* Leaves the gradients by q, k and v before their rotation, from g->dx by the residual. */
static void attention_backward(const struct layer_pass *p, int layer, const struct activations *a,
                               const struct layer_rows *rows, struct gradients *g)
{
    const struct config *c = p->model->config;
    const struct rotation *r = p->rotation;
    struct device *d = p->model->device;
    project_backward(p, layer, O_PROJ, a->attended, g->dx, NULL, g->attended, rows->n, false, g);
    d->attention_backward(d, &(struct attention_backward){.forward = layer_attention(p, layer, a),
                                                          .d_out = g->attended,
                                                          .dq = g->q,
                                                          .dk = g->k,
                                                          .dv = g->v,
                                                          .d_prefix_k = g->k,
                                                          .d_prefix_v = g->v,
                                                          .work = g->work});
    d->rope(d, g->q, rows->n, c->heads, c->head_dim, rows->positions, r->cosine, r->minus_sine);
    d->rope(d, g->k, p->all.n, c->kv_heads, c->head_dim, p->all.positions, r->cosine,
            r->minus_sine);
}

/* Of the last layer: from g->last, by the queries' input, and g->dx, by the residual, both of last
 * positions, to all rows: added to d_norm and set in g->dx. */
static void spread_last(const struct layer_pass *p, float *d_norm, struct gradients *g)
{
    struct device *d = p->model->device;
    int width = p->model->config->width;
    d->scatter_add(d, g->last, p->last_rows, p->last.n, width, d_norm);
    d->clear(d, g->next, (size_t)p->all.n * (size_t)width * sizeof *g->next);
    d->scatter_add(d, g->dx, p->last_rows, p->last.n, width, g->next);
    float *swap = g->dx;
    g->dx = g->next;
    g->next = swap;
}

void layer_backward(const struct layer_pass *p, int layer, const float *x,
                    const struct activations *a, struct gradients *g)
{
    const struct config *c = p->model->config;
    struct device *d = p->model->device;
    bool last = is_last_layer(p, layer);
    const struct layer_rows *rows = last ? &p->last : &p->all;
    mlp_backward(p, layer, a, rows->n, g);
    attention_backward(p, layer, a, rows, g);

    float *d_norm = layer ? g->norm : NULL, *d_last = layer ? g->last : NULL;
    project_backward(p, layer, K_PROJ, a->attention_input, g->k, NULL, d_norm, p->all.n, false, g);
    project_backward(p, layer, V_PROJ, a->attention_input, g->v, NULL, d_norm, p->all.n, true, g);
    if (last)
        project_backward(p, layer, Q_PROJ, a->last_input, g->q, NULL, d_last, rows->n, false, g);
    else
        project_backward(p, layer, Q_PROJ, a->attention_input, g->q, NULL, d_norm, rows->n, true,
                         g);
    if (!layer)
        return;
    if (last)
        spread_last(p, d_norm, g);
    d->rmsnorm_backward(d, x, p->model->layers[layer].attention_norm, c->norm_eps, p->all.n,
                        c->width, d_norm, g->dx);
}
