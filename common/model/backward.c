#include "common/model/backward.h"

#include "common/model/ends.h"
#include "common/model/layer.h"
#include "common/util/mem.h"

#include <stdlib.h>

struct backward {
    struct model *model;
    struct lora_set *lora;
    struct device *device;
    struct training_batch batch;

    /* On the device. */
    int rows, reads, n_spans, n_copies; /* room */
    int32_t *tokens, *positions, *last_rows, *last_positions, *dropout_rows, *last_dropout_rows;
    int32_t *copies;
    struct attention_span *spans, *last_spans;
    struct rotation rotation;
    float **inputs;         /* [layers][rows, width]: what each layer was given */
    float *last;            /* [reads, width]: the last layer's result */
    float *hidden, *logits; /* [reads, width], [reads, n_classes] */
    float *capped;          /* the logits, which become gradients; NULL: nothing caps them */
    /* What layers compute, from their forward to their backward pass: kept of the last kept + 1
     * layers, computed again into the first of these for those before them. */
    int kept;
    struct activations *activations; /* [kept + 1] */
    struct gradients gradients;

    struct layer_pass pass; /* the one under way */
};

/* ---- memory ---- */

struct backward *backward_open(struct model *m, struct lora_set *lora, int kept)
{
    struct backward *b = xcalloc(1, sizeof *b);
    b->model = m;
    b->lora = lora;
    b->device = m->device;
    b->inputs = xcalloc((size_t)m->config->layers, sizeof *b->inputs);
    b->kept = kept < m->config->layers ? kept : m->config->layers - 1;
    b->activations = xcalloc((size_t)b->kept + 1, sizeof *b->activations);
    return b;
}

static void release_rows(struct backward *b)
{
    struct device *d = b->device;
    for (int i = 0; i <= b->kept; i++)
        activations_release(&b->activations[i], d);
    gradients_release(&b->gradients, d);
    d->release(d, b->tokens);
    d->release(d, b->positions);
    d->release(d, b->dropout_rows);
    for (int i = 0; i < b->model->config->layers; i++)
        d->release(d, b->inputs[i]);
}

static void release_reads(struct backward *b)
{
    struct device *d = b->device;
    void *buffers[] = {b->last_rows, b->last_positions, b->last_dropout_rows, b->last, b->hidden,
                       b->logits,    b->capped};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        d->release(d, buffers[i]);
}

static void release_spans(struct backward *b)
{
    b->device->release(b->device, b->spans);
    b->device->release(b->device, b->last_spans);
    b->device->release(b->device, b->copies);
}

void backward_close(struct backward *b)
{
    release_rows(b);
    release_reads(b);
    release_spans(b);
    rotation_release(&b->rotation, b->device);
    training_batch_free(&b->batch);
    free(b->inputs);
    free(b->activations);
    free(b);
}

static float *floats(struct backward *b, size_t rows, int width)
{
    return b->device->alloc(b->device, rows * (size_t)width * sizeof(float));
}

static int32_t *integers(struct backward *b, size_t n)
{
    return b->device->alloc(b->device, n * sizeof(int32_t));
}

static void reserve_rows(struct backward *b, int rows)
{
    if (rows <= b->rows)
        return;
    release_rows(b); /* all, before more is asked for */
    b->rows = rows;
    size_t n = (size_t)rows;
    b->tokens = integers(b, n);
    b->positions = integers(b, n);
    b->dropout_rows = integers(b, n);
    for (int i = 0; i < b->model->config->layers; i++)
        b->inputs[i] = floats(b, n, b->model->config->width);
}

static void reserve_reads(struct backward *b, int reads)
{
    if (reads <= b->reads)
        return;
    release_reads(b);
    b->reads = reads;
    const struct config *c = b->model->config;
    size_t n = (size_t)reads;
    b->last_rows = integers(b, n);
    b->last_positions = integers(b, n);
    b->last_dropout_rows = integers(b, n);
    b->last = floats(b, n, c->width);
    b->hidden = floats(b, n, c->width);
    b->logits = floats(b, n, b->model->n_classes);
    if (c->logit_cap > 0)
        b->capped = floats(b, n, b->model->n_classes);
}

static void reserve_spans(struct backward *b, int spans, int copies)
{
    if (spans <= b->n_spans && copies <= b->n_copies)
        return;
    struct device *d = b->device;
    release_spans(b);
    b->n_spans = spans > b->n_spans ? spans : b->n_spans;
    b->n_copies = copies > b->n_copies ? copies : b->n_copies;
    size_t bytes = (size_t)b->n_spans * sizeof *b->spans;
    b->spans = d->alloc(d, bytes);
    b->last_spans = d->alloc(d, bytes);
    b->copies = b->n_copies ? integers(b, (size_t)b->n_copies) : NULL;
}

/* As much as one part that does the whole pass takes, where that is known: a pass of n sequences
 * has no more than as many prefixes besides. */
static void reserve(struct backward *b, const struct pass *p)
{
    const struct config *c = b->model->config;
    const struct training_batch *t = &b->batch;
    int reads = p->n * (p->tree ? p->tree->n_nodes : 1);
    int keys = t->rows + t->n_copies;
    reserve_rows(b, t->rows);
    reserve_reads(b, reads);
    reserve_spans(b, p->n * ((p->tree ? p->tree->n_branches : 1) + 1), t->n_copies);
    rotation_reserve(&b->rotation, b->device, c, t->max_position + 1, true);
    for (int i = 0; i <= b->kept; i++)
        activations_reserve(&b->activations[i], b->device, c, t->rows, keys, reads,
                            lora_low_width(b->lora), true);
    gradients_reserve(&b->gradients, b->device, c, t->rows, keys);
    /* hidden has served: the output matrix comes first on the way back. */
    b->gradients.last = b->hidden;
}

/* ---- the batch ---- */

static void upload(struct backward *b)
{
    const struct training_batch *t = &b->batch;
    struct device *d = b->device;
    size_t n = (size_t)t->reads, rows = (size_t)t->rows, spans = (size_t)t->n_spans;
    d->upload(d, b->tokens, t->tokens, rows * sizeof *b->tokens);
    d->upload(d, b->positions, t->positions, rows * sizeof *b->positions);
    d->upload(d, b->last_rows, t->last_rows, n * sizeof *b->last_rows);
    d->upload(d, b->last_positions, t->last_positions, n * sizeof *b->last_positions);
    d->upload(d, b->spans, t->spans, spans * sizeof *b->spans);
    d->upload(d, b->last_spans, t->last_spans, spans * sizeof *b->last_spans);
    if (t->n_copies)
        d->upload(d, b->copies, t->copies, (size_t)t->n_copies * sizeof *b->copies);
}

/* One part has all rows, which then are their own numbers. */
static void set_dropout(struct backward *b, const struct pass *p)
{
    const struct training_batch *t = &b->batch;
    struct device *d = b->device;
    struct lora_dropout dropout = {.rate = p->dropout, .seed = p->seed, .pass = p->number};
    if (p->parts > 1) {
        d->upload(d, b->dropout_rows, t->dropout_rows, (size_t)t->rows * sizeof *b->dropout_rows);
        d->upload(d, b->last_dropout_rows, t->last_dropout_rows,
                  (size_t)t->reads * sizeof *b->last_dropout_rows);
        dropout.rows = b->dropout_rows;
        dropout.last_rows = b->last_dropout_rows;
    }
    lora_set_dropout(b->lora, &dropout);
}

/* ---- the pass ---- */

/* Layers from this one on are kept. */
static int first_kept(const struct backward *b)
{
    return b->model->config->layers - 1 - b->kept;
}

static const struct activations *activations_of(const struct backward *b, int layer)
{
    int first = first_kept(b);
    return &b->activations[layer > first ? layer - first : 0];
}

struct pass_logits backward_logits(struct backward *b, const struct pass *p)
{
    struct model *m = b->model;
    const struct config *c = m->config;
    const struct training_batch *t = &b->batch;
    struct device *d = b->device;
    training_batch_pack(&b->batch, p);
    int n = t->reads;
    if (n == 0)
        return (struct pass_logits){0};
    reserve(b, p);
    upload(b);
    set_dropout(b, p);
    b->pass = (struct layer_pass){.model = m,
                                  .lora = b->lora,
                                  .all = {t->rows, b->positions, b->spans, t->spans},
                                  .last = {n, b->last_positions, b->last_spans, t->last_spans},
                                  .last_rows = b->last_rows,
                                  .n_spans = t->n_spans,
                                  .copies = b->copies,
                                  .n_copies = t->n_copies,
                                  .rotation = &b->rotation};
    embed_tokens(m, b->tokens, t->rows, b->inputs[0]);
    for (int i = 0; i < c->layers; i++)
        layer_forward(&b->pass, i, b->inputs[i], activations_of(b, i),
                      is_last_layer(&b->pass, i) ? b->last : b->inputs[i + 1]);
    class_logits(m, b->lora, b->last, n, b->hidden, b->logits);
    if (b->capped)
        d->convert(d, b->logits, F32, b->capped, F32, (size_t)n * (size_t)m->n_classes);
    return (struct pass_logits){
        .logits = b->logits, .order = t->order + t->first, .n = t->sequences};
}

/* From the gradient by the logits to that by the last layer's result, in gradients.dx. */
static void head_backward(struct backward *b)
{
    struct model *m = b->model;
    struct device *d = b->device;
    struct gradients *g = &b->gradients;
    int n = b->batch.reads;
    size_t width = (size_t)m->config->width;
    class_logits_backward(m, b->lora, b->hidden, b->capped, b->logits, n, g->norm);
    d->clear(d, g->dx, (size_t)n * width * sizeof *g->dx);
    d->rmsnorm_backward(d, b->last, m->norm, m->config->norm_eps, n, m->config->width, g->norm,
                        g->dx);
}

void backward_gradients(struct backward *b)
{
    if (b->batch.sequences == 0)
        return;
    head_backward(b);
    for (int i = b->model->config->layers - 1; i >= 0; i--) {
        const struct activations *a = activations_of(b, i);
        if (i < first_kept(b))
            layer_forward(&b->pass, i, b->inputs[i], a, NULL);
        layer_backward(&b->pass, i, b->inputs[i], a, &b->gradients);
    }
}
