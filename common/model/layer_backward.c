#include "common/model/layer.h"

/* From dy by project()'s result: the adapter's gradients, and that by x, set or added to dx unless
 * dx is NULL. dy_c is dy in the compute type; where it is NULL it is made, should anybody read it.
 */
static void project_backward(const struct layer_pass *p, int layer, enum projection projection,
                             const struct activations *a, const void *x, const float *dy,
                             const void *dy_c, float *dx, int rows, bool accumulate,
                             struct gradients *g)
{
    struct device *d = p->model->device;
    int width = projection_shape(p->model->config, projection).out;
    if (!dy_c && d->compute == F32) {
        dy_c = dy;
    } else if (!dy_c && (dx || lora_has(p->lora, layer, projection))) {
        d->convert(d, dy, F32, g->rounded, d->compute, (size_t)rows * (size_t)width);
        dy_c = g->rounded;
    }
    if (dx)
        d->matmul_backward(d, p->model->layers[layer].weights[projection], dy_c, dx, rows,
                           accumulate);
    lora_backward(p->lora, layer, projection, x, &a->low, rows, dy_c, dx);
}

/* The gradient by what a branch's projection gives, from g->dx by what it was added to. raw: that
 * result, read where it is normed. */
static const float *branch_gradient(const struct layer_pass *p, const float *gain, const float *raw,
                                    int rows, struct gradients *g)
{
    const struct config *c = p->model->config;
    struct device *d = p->model->device;
    size_t n = (size_t)rows * (size_t)c->width;
    if (!g->branch)
        return g->dx;
    d->clear(d, g->branch, n * sizeof *g->branch);
    if (gain)
        d->rmsnorm_backward(d, raw, gain, c->norm_eps, rows, c->width, g->dx, g->branch);
    else
        d->add(d, c->residual_scale, g->dx, g->branch, n);
    return g->branch;
}

/* g->dx += the gradient by x of norm(), from d_norm by its result. */
static void norm_backward(const struct layer_pass *p, const float *x, const float *gain, int rows,
                          const float *d_norm, struct gradients *g)
{
    const struct config *c = p->model->config;
    struct device *d = p->model->device;
    if (gain)
        d->rmsnorm_backward(d, x, gain, c->norm_eps, rows, c->width, d_norm, g->dx);
    else
        d->add(d, 1, d_norm, g->dx, (size_t)rows * (size_t)c->width);
}

/* The gradient by rows of q or k before their norm, from dy by it; dy itself without one. It lies
 * in g->attended, which has served. */
static const float *raw_gradient(const struct layer_pass *p, const float *raw, const float *gain,
                                 const float *dy, int rows, int heads, struct gradients *g)
{
    const struct config *c = p->model->config;
    struct device *d = p->model->device;
    struct norm_shape n = qk_norm_shape(c, rows, heads);
    if (!gain)
        return dy;
    d->clear(d, g->attended, (size_t)n.rows * (size_t)n.width * sizeof *g->attended);
    d->rmsnorm_backward(d, raw, gain, c->norm_eps, n.rows, n.width, dy, g->attended);
    return g->attended;
}

/* g->dx: the gradient by the layer's result on entry, by the residual on return. */
static void mlp_backward(const struct layer_pass *p, int layer, const struct activations *a,
                         int rows, struct gradients *g)
{
    const struct config *c = p->model->config;
    struct device *d = p->model->device;
    size_t n = (size_t)rows * (size_t)c->intermediate;
    const struct layer *l = &p->model->layers[layer];
    const float *d_branch = branch_gradient(p, l->mlp_out_norm, a->mlp_branch, rows, g);
    project_backward(p, layer, DOWN_PROJ, a, a->gated, d_branch, NULL, g->gated, rows, false, g);
    d->glu_backward(d, c->activation, a->gate, a->up, g->gated, n, g->gate, g->up);
    const void *x = a->mlp_input;
    project_backward(p, layer, GATE_PROJ, a, x, NULL, g->gate, g->norm, rows, false, g);
    project_backward(p, layer, UP_PROJ, a, x, NULL, g->up, g->norm, rows, true, g);
    norm_backward(p, a->residual, l->mlp_norm, rows, g->norm, g);
}

/* What is set where spans share keys or values: rows that no span has as its own stay zero. */
static void clear_keys(const struct layer_pass *p, float *dx)
{
    const struct config *c = p->model->config;
    size_t width = (size_t)c->kv_heads * (size_t)c->head_dim;
    if (p->n_copies)
        p->model->device->clear(p->model->device, dx, (size_t)p->all.n * width * sizeof *dx);
}

/* The gradients by copies go to the rows that they are of. */
static void gather_copies(const struct layer_pass *p, float *dx)
{
    const struct config *c = p->model->config;
    int width = c->kv_heads * c->head_dim;
    if (p->n_copies)
        p->model->device->scatter_add(p->model->device, dx + (size_t)p->all.n * (size_t)width,
                                      p->copies, p->n_copies, width, dx);
}

/* Leaves the gradients by q, k and v before their rotation, from g->dx by the residual. */
static void attention_backward(const struct layer_pass *p, int layer, const struct activations *a,
                               const struct layer_rows *rows, struct gradients *g)
{
    struct device *d = p->model->device;
    const float *d_branch = branch_gradient(p, p->model->layers[layer].attention_out_norm,
                                            a->attention_branch, rows->n, g);
    project_backward(p, layer, O_PROJ, a, a->attended, d_branch, NULL, g->attended, rows->n, false,
                     g);
    clear_keys(p, g->k);
    clear_keys(p, g->v);
    d->attention_backward(d, &(struct attention_backward){.forward = layer_attention(p, layer, a),
                                                          .d_out = g->attended,
                                                          .dq = g->q,
                                                          .dk = g->k,
                                                          .dv = g->v,
                                                          .d_prefix_k = g->k,
                                                          .d_prefix_v = g->v,
                                                          .work = g->work});
    gather_copies(p, g->k);
    gather_copies(p, g->v);
    turn_queries(p, layer, rows, g->q, TURN_BACK);
    turn_keys(p, layer, g->k, TURN_BACK);
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

/* From g->q, g->k and g->v: by the queries' input of the last layer to d_last, by the other inputs
 * to d_norm; both NULL where nobody asks. */
static void inputs_backward(const struct layer_pass *p, int layer, const struct activations *a,
                            const struct layer_rows *rows, float *d_norm, float *d_last,
                            struct gradients *g)
{
    const struct config *c = p->model->config;
    const struct layer *l = &p->model->layers[layer];
    const void *x = a->attention_input;
    const float *dk = raw_gradient(p, a->raw_k, l->k_norm, g->k, p->all.n, c->kv_heads, g);
    project_backward(p, layer, K_PROJ, a, x, dk, NULL, d_norm, p->all.n, false, g);
    project_backward(p, layer, V_PROJ, a, x, g->v, NULL, d_norm, p->all.n, true, g);
    const float *dq = raw_gradient(p, a->raw_q, l->q_norm, g->q, rows->n, c->heads, g);
    if (is_last_layer(p, layer))
        project_backward(p, layer, Q_PROJ, a, a->last_input, dq, NULL, d_last, rows->n, false, g);
    else
        project_backward(p, layer, Q_PROJ, a, x, dq, NULL, d_norm, rows->n, true, g);
}

void layer_backward(const struct layer_pass *p, int layer, const float *x,
                    const struct activations *a, struct gradients *g)
{
    bool last = is_last_layer(p, layer);
    const struct layer_rows *rows = last ? &p->last : &p->all;
    mlp_backward(p, layer, a, rows->n, g);
    attention_backward(p, layer, a, rows, g);
    float *d_norm = layer ? g->norm : NULL, *d_last = layer ? g->last : NULL;
    inputs_backward(p, layer, a, rows, d_norm, d_last, g);
    if (!layer)
        return;
    if (last)
        spread_last(p, d_norm, g);
    norm_backward(p, x, p->model->layers[layer].attention_norm, p->all.n, d_norm, g);
}
