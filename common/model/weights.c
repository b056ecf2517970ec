#include "common/model/weights.h"

#include "common/model/gguf_tensors.h"
#include "common/util/diag.h"
#include "common/util/digest.h"
#include "common/util/gguf.h"
#include "common/util/json.h"
#include "common/util/mem.h"
#include "common/util/threads.h"

#include <stdlib.h>
#include <xxhash.h>

/* ---- the tensors an architecture has ---- */

static const struct tensor *layer_tensor(const struct model *m, int layer, const char *name,
                                         int64_t rows, int64_t columns)
{
    char *full = xasprintf("model.layers.%d.%s", layer, name);
    const struct tensor *t = safetensors_need(m->tensors, full, rows, columns);
    free(full);
    return t;
}

/* What each tensor of a layer is handed to, with where model_load() puts it. shift: added to the
 * values of a vector. */
struct visitor {
    void (*matrix)(struct model *, int layer, enum projection, const struct tensor *,
                   struct weight **);
    void (*vector)(struct model *, const struct tensor *, float shift, float **);
};

/* A projection's weight or bias: its rows of the tensor that it shares with others where they are
 * fused. columns: 0 for a bias. */
static struct tensor projection_tensor(const struct model *m, int layer, enum projection p,
                                       const char *name, int64_t columns)
{
    struct fused_projection f = fused_projection(m->config, p);
    char *module = m->config->fused ? fused_module(p, layer) : projection_module(p, layer);
    char *full = xasprintf("%s.%s", module, name);
    struct tensor t = tensor_rows(safetensors_need(m->tensors, full, f.out, columns), f.first,
                                  projection_shape(m->config, p).out);
    free(module);
    free(full);
    return t;
}

static void visit_norm(struct model *m, int layer, const char *name, int64_t size,
                       const struct visitor *v, float **to)
{
    v->vector(m, layer_tensor(m, layer, name, size, 0), m->config->gain_shift, to);
}

static void visit_norms(struct model *m, int i, struct layer *l, const struct visitor *v)
{
    const struct config *c = m->config;
    int width = c->width, heads = c->qk_norms == QK_NORMS_OF_ROWS ? c->heads : 1;
    int kv_heads = c->qk_norms == QK_NORMS_OF_ROWS ? c->kv_heads : 1;
    static const char after_attention[] = "post_attention_layernorm.weight";
    if (c->norms != NORMS_AFTER)
        visit_norm(m, i, "input_layernorm.weight", width, v, &l->attention_norm);
    if (c->norms == NORMS_BEFORE) {
        visit_norm(m, i, after_attention, width, v, &l->mlp_norm);
    } else {
        visit_norm(m, i, after_attention, width, v, &l->attention_out_norm);
        visit_norm(m, i, "post_feedforward_layernorm.weight", width, v, &l->mlp_out_norm);
    }
    if (c->norms == NORMS_AROUND)
        visit_norm(m, i, "pre_feedforward_layernorm.weight", width, v, &l->mlp_norm);
    if (c->qk_norms != NO_QK_NORMS) {
        visit_norm(m, i, "self_attn.q_norm.weight", heads * c->head_dim, v, &l->q_norm);
        visit_norm(m, i, "self_attn.k_norm.weight", kv_heads * c->head_dim, v, &l->k_norm);
    }
}

static void visit_layer(struct model *m, int i, struct layer *l, const struct visitor *v)
{
    for (enum projection p = 0; p < LM_HEAD; p++) {
        struct projection_shape shape = projection_shape(m->config, p);
        struct tensor t = projection_tensor(m, i, p, "weight", shape.in);
        v->matrix(m, i, p, &t, &l->weights[p]);
        if (shape.bias) {
            t = projection_tensor(m, i, p, "bias", 0);
            v->vector(m, &t, 0, &l->biases[p]);
        }
    }
    visit_norms(m, i, l, v);
}

static void check_matrix(struct model *m, int layer, enum projection p, const struct tensor *t,
                         struct weight **to)
{
    (void)m;
    (void)layer;
    (void)p;
    (void)t;
    (void)to;
}

static void check_vector(struct model *m, const struct tensor *t, float shift, float **to)
{
    (void)m;
    (void)t;
    (void)shift;
    (void)to;
}

static const char embedding_name[] = "model.embed_tokens.weight", output_name[] = "lm_head.weight";

/* Of a tied pair one may be left out. */
static const struct tensor *embedding_tensor(const struct model *m)
{
    const struct config *c = m->config;
    bool only_output = c->tied && !safetensors_find(m->tensors, embedding_name) &&
                       safetensors_find(m->tensors, output_name);
    return safetensors_need(m->tensors, only_output ? output_name : embedding_name, c->vocab,
                            c->width);
}

static const struct tensor *output_tensor(const struct model *m)
{
    const struct config *c = m->config;
    return c->tied ? embedding_tensor(m)
                   : safetensors_need(m->tensors, output_name, c->vocab, c->width);
}

/* A configuration that says tied beside two matrices that differ is wrong, as transformers has it:
 * each is taken as it is. */
static void untie_what_differs(struct model *m)
{
    const struct config *c = m->config;
    if (!c->tied || !safetensors_find(m->tensors, embedding_name) ||
        !safetensors_find(m->tensors, output_name))
        return;
    const struct tensor *a = safetensors_need(m->tensors, embedding_name, c->vocab, c->width);
    const struct tensor *b = safetensors_need(m->tensors, output_name, c->vocab, c->width);
    bool same = a->dtype == b->dtype && !memcmp(tensor_data(a), tensor_data(b), a->bytes);
    safetensors_forget(a);
    safetensors_forget(b);
    if (same)
        return;
    warn("%s: 'tie_word_embeddings' is true, but %s and %s differ: each is taken as it is",
         c->folder, embedding_name, output_name);
    m->config->tied = false;
}

/* Frequencies that old checkpoints of Llama have stored, and nobody reads. */
static bool is_stored_frequency(const char *name)
{
    static const char end[] = ".rotary_emb.inv_freq";
    size_t n = strlen(name);
    return n >= sizeof end && !strcmp(name + n - (sizeof end - 1), end);
}

static void check_unread(const struct model *m)
{
    for (size_t i = 0; i < safetensors_count(m->tensors); i++) {
        const struct tensor *t = safetensors_at(m->tensors, i);
        if (!t->asked_for && !is_stored_frequency(t->name))
            die(EX_DATAERR,
                "%s: tensor %s is none that a %s has: the model computes something that is not "
                "known",
                t->file, t->stored_name ? t->stored_name : t->name, m->config->architecture);
    }
}

static const struct tensor *norm_tensor(const struct model *m)
{
    return safetensors_need(m->tensors, "model.norm.weight", m->config->width, 0);
}

/* ---- opening ---- */

static void digest_model(struct model *m)
{
    enum { WHOLE = 64 << 10, PIECES = 16, PIECE = WHOLE / PIECES };
    XXH64_state_t *state = digest_new();
    json_t *config = config_json(m->config);
    char *text = json_text(config, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(9));
    XXH64_update(state, text, strlen(text));
    free(text);
    json_decref(config);
    for (size_t i = 0; i < safetensors_count(m->tensors); i++) {
        const struct tensor *t = safetensors_at(m->tensors, i);
        struct buf line = {0};
        buf_addf(&line, "%s %s [", t->name, t->dtype_name);
        for (int k = 0; k < t->n_dims; k++)
            buf_addf(&line, "%s%lld", k ? "," : "", (long long)t->shape[k]);
        buf_addf(&line, "]\n");
        XXH64_update(state, line.data, line.len);
        buf_free(&line);
        size_t size;
        const char *stored = tensor_stored(t, &size);
        if (size <= WHOLE)
            XXH64_update(state, stored, size);
        else
            for (size_t p = 0; p < PIECES; p++)
                XXH64_update(state, stored + (size - PIECE) / (PIECES - 1) * p, PIECE);
        safetensors_forget(t); /* the system may have mapped far more than was looked at */
    }
    digest_text(XXH64_digest(state), m->digest);
    XXH64_freeState(state);
}

/* Asks for every tensor once. */
static void check_tensors(struct model *m)
{
    static const struct visitor check = {check_matrix, check_vector};
    struct layer nowhere;
    embedding_tensor(m);
    for (int i = 0; i < m->config->layers; i++)
        visit_layer(m, i, &nowhere, &check);
    norm_tensor(m);
    output_tensor(m);
}

static struct safetensors *open_tensors(const char *folder)
{
    char *gguf = gguf_of_model(folder);
    struct safetensors *tensors = gguf ? gguf_tensors(gguf) : safetensors_open_folder(folder);
    free(gguf);
    return tensors;
}

struct model *model_open(const char *folder)
{
    struct model *m = xcalloc(1, sizeof *m);
    m->config = config_read(folder);
    m->tensors = open_tensors(folder);
    untie_what_differs(m);
    check_tensors(m);
    check_unread(m);
    digest_model(m);
    return m;
}

struct model *model_without_weights(const char *path, enum dtype stored)
{
    struct model *m = xcalloc(1, sizeof *m);
    m->config = config_read_file(path);
    m->tensors = safetensors_zeros(stored);
    check_tensors(m);
    return m;
}

enum dtype model_stored_type(const struct model *m)
{
    size_t bytes[3] = {0};
    for (size_t i = 0; i < safetensors_count(m->tensors); i++) {
        const struct tensor *t = safetensors_at(m->tensors, i);
        if (t->readable)
            bytes[t->dtype] += t->bytes;
    }
    enum dtype most = F32;
    for (enum dtype d = F32; d <= F16; d++)
        if (bytes[d] > bytes[most])
            most = d;
    return most;
}

double model_products(const struct model *m)
{
    const struct config *c = m->config;
    double attention = 2.0 * c->head_dim * (c->heads + c->kv_heads), mlp = 3.0 * c->intermediate;
    return (double)c->layers * c->width * (attention + mlp);
}

/* ---- loading ---- */

void model_merge(struct model *m, const struct adapter *a)
{
    m->merged = a;
}

struct merge {
    const struct lora *part;
    const struct tensor *tensor;
    const void *data; /* of the tensor */
    char *copy;
};

static void merge_row(void *context, size_t row)
{
    const struct merge *m = context;
    enum dtype type = m->tensor->dtype;
    lora_merge_row(m->part, (int)row, type, m->data,
                   m->copy + row * (size_t)m->part->in * dtype_size(type));
}

/* A merged copy of the matrix, or NULL where nothing is merged into it. */
static void *merged_matrix(const struct model *m, int layer, enum projection p,
                           const struct tensor *t)
{
    const struct lora *part = m->merged ? adapter_part(m->merged, layer, p) : NULL;
    if (!part || !part->a)
        return NULL;
    struct merge merge = {part, t, tensor_data(t), xaligned(t->bytes)};
    threads_run((size_t)part->out, merge_row, &merge);
    return merge.copy;
}

/* The device's weight is a copy: none stays on the host. */
static void load_matrix(struct model *m, int layer, enum projection p, const struct tensor *t,
                        struct weight **to)
{
    void *merged = merged_matrix(m, layer, p, t);
    *to = m->device->weight_create(m->device, merged ? merged : tensor_data(t), t->dtype,
                                   (int)t->shape[0], (int)t->shape[1]);
    safetensors_forget(t);
    free(merged);
}

static void load_vector(struct model *m, const struct tensor *t, float shift, float **to)
{
    size_t n = (size_t)t->shape[0];
    const void *data = tensor_data(t);
    float *values = xreallocarray(NULL, n, sizeof *values);
    for (size_t i = 0; i < n; i++)
        values[i] = dtype_load(t->dtype, data, i) + shift;
    *to = m->device->alloc(m->device, n * sizeof *values);
    m->device->upload(m->device, *to, values, n * sizeof *values);
    safetensors_forget(t);
    free(values);
}

void model_load(struct model *m, struct device *device)
{
    m->device = device;
    const struct tensor *embedding = embedding_tensor(m);
    m->embedding = device->import(device, tensor_data(embedding), embedding->bytes);
    if (device->own_memory)
        safetensors_forget(embedding);
    m->embedding_type = embedding->dtype;
    m->layers = xcalloc((size_t)m->config->layers, sizeof *m->layers);
    static const struct visitor load = {load_matrix, load_vector};
    for (int i = 0; i < m->config->layers; i++)
        visit_layer(m, i, &m->layers[i], &load);
    load_vector(m, norm_tensor(m), m->config->gain_shift, &m->norm);
}

void model_set_classes(struct model *m, const int32_t *tokens, int n)
{
    const struct tensor *output = output_tensor(m);
    const char *data = tensor_data(output);
    size_t width = (size_t)m->config->width;
    float *rows = xreallocarray(NULL, (size_t)n * width, sizeof *rows);
    char *row = xmalloc(width * dtype_size(output->dtype));
    for (int c = 0; c < n; c++) {
        if (tokens[c] < 0 || tokens[c] >= m->config->vocab)
            die(EX_DATAERR,
                "class token %d is not in %s's vocabulary of %d; was the stream made by another "
                "model's tokenizer?",
                (int)tokens[c], m->config->folder, m->config->vocab);
        const struct lora *part = m->merged ? adapter_part(m->merged, 0, LM_HEAD) : NULL;
        if (part && part->a)
            lora_merge_row(part, tokens[c], output->dtype, data, row);
        else
            memcpy(row, data + (size_t)tokens[c] * width * dtype_size(output->dtype),
                   width * dtype_size(output->dtype));
        for (size_t i = 0; i < width; i++)
            rows[(size_t)c * width + i] = dtype_load(output->dtype, row, i);
    }
    free(row);
    /* A tied one is the embedding, which a device without memory of its own reads where it lies. */
    if (!m->config->tied || m->device->own_memory)
        safetensors_forget(output);
    m->n_classes = n;
    m->device->release(m->device, m->class_rows);
    m->class_rows = m->device->alloc(m->device, (size_t)n * width * sizeof *rows);
    m->device->upload(m->device, m->class_rows, rows, (size_t)n * width * sizeof *rows);
    free(rows);
}

/* The embedding where the pair is tied and nothing is merged into its output half. */
const struct output_matrix *model_output(struct model *m)
{
    struct output_matrix *o = &m->output;
    if (o->rows)
        return o;
    const struct tensor *t = output_tensor(m);
    o->type = t->dtype;
    o->merged = merged_matrix(m, 0, LM_HEAD, t);
    if (m->config->tied && !o->merged)
        o->rows = m->embedding;
    else
        o->rows = m->device->import(m->device, o->merged ? o->merged : t->data, t->bytes);
    return o;
}

void model_close(struct model *m)
{
    struct device *d = m->device;
    for (int i = 0; d && i < m->config->layers; i++) {
        struct layer *l = &m->layers[i];
        for (enum projection p = 0; p < LM_HEAD; p++) {
            d->weight_free(d, l->weights[p]);
            d->release(d, l->biases[p]);
        }
        float *norms[] = {l->attention_norm, l->attention_out_norm,
                          l->mlp_norm,       l->mlp_out_norm,
                          l->q_norm,         l->k_norm};
        for (size_t k = 0; k < sizeof norms / sizeof *norms; k++)
            d->release(d, norms[k]);
    }
    if (d) {
        d->release(d, m->norm);
        d->release(d, m->class_rows);
    }
    free(m->output.merged);
    free(m->layers);
    safetensors_close(m->tensors);
    config_free(m->config);
    free(m);
}
