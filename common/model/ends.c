#include "common/model/ends.h"

static void scale(const struct model *m, float factor, float *x, size_t n)
{
    if (factor < 1 || factor > 1)
        m->device->scale(m->device, factor, x, n);
}

void embed_tokens(const struct model *m, const int32_t *tokens, int n, float *x)
{
    const struct config *c = m->config;
    m->device->embed(m->device, m->embedding, m->embedding_type, c->width, tokens, n, x);
    scale(m, c->embedding_scale, x, (size_t)n * (size_t)c->width);
}

void finish_logits(const struct model *m, float *logits, size_t n)
{
    scale(m, m->config->logit_scale, logits, n);
    if (m->config->logit_cap > 0)
        m->device->cap(m->device, m->config->logit_cap, logits, n);
}

void class_logits(const struct model *m, struct lora_set *lora, const float *x, int n,
                  float *hidden, float *logits)
{
    const struct config *c = m->config;
    struct device *d = m->device;
    d->rmsnorm(d, x, m->norm, c->norm_eps, n, c->width, hidden, F32);
    d->class_logits(d, hidden, n, m->class_rows, m->n_classes, c->width, logits);
    lora_head(lora, hidden, n, logits);
    finish_logits(m, logits, (size_t)n * (size_t)m->n_classes);
}

void class_logits_backward(const struct model *m, struct lora_set *lora, const float *hidden,
                           const float *capped, float *d_logits, int n, float *d_hidden)
{
    const struct config *c = m->config;
    struct device *d = m->device;
    size_t width = (size_t)c->width, count = (size_t)n * (size_t)m->n_classes;
    if (c->logit_cap > 0)
        d->cap_backward(d, c->logit_cap, capped, d_logits, count);
    scale(m, c->logit_scale, d_logits, count);
    d->gemm(d, &(struct matrix_product){.m = n,
                                        .n = c->width,
                                        .k = m->n_classes,
                                        .scale = 1,
                                        .a = d_logits,
                                        .a_step = (size_t)m->n_classes,
                                        .b = m->class_rows,
                                        .b_step = width,
                                        .c = d_hidden,
                                        .c_step = width});
    lora_head_backward(lora, hidden, n, d_logits, d_hidden);
}
