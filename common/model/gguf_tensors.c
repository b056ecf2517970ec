#include "common/model/gguf_tensors.h"

#include "common/model/gguf_expand.h"
#include "common/model/gguf_family.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/threads.h"

#include <stdio.h>
#include <stdlib.h>

/* How one tensor is unpacked. */
struct gguf_packed {
    struct packed packed;
    const struct gguf_type *type;
    int64_t columns;
    int64_t paired; /* rows of a head, stored by pairs; 0: rows are in order */
    float offset;   /* of the stored values */
};

/* ---- names ---- */

/* "blk.N.REST.weight" and the like; the caller frees it. NULL: none of a layer's that are known. */
static char *layer_name(const struct gguf_family *f, const char *name)
{
    int layer, at = 0;
    char part[64], what[64];
    if (sscanf(name, "blk.%d.%63[^.].%63[a-z]%n", &layer, part, what, &at) != 3 || name[at])
        return NULL;
    const char *there = gguf_layer_tensor_name(f, part);
    return there ? xasprintf("model.layers.%d.%s.%s", layer, there, what) : NULL;
}

/* What the tensor is called elsewhere, or its own name; the caller frees it. */
static char *name_elsewhere(const struct gguf_family *f, const char *name)
{
    static const struct gguf_name names[] = {{"token_embd.weight", "model.embed_tokens.weight"},
                                             {"output_norm.weight", "model.norm.weight"},
                                             {"output.weight", "lm_head.weight"},
                                             {0}};
    for (const struct gguf_name *n = names; n->here; n++)
        if (!strcmp(n->here, name))
            return xstrdup(n->there);
    char *layer = layer_name(f, name);
    return layer ? layer : xstrdup(name);
}

/* ---- unpacking ---- */

struct unpacking {
    const struct gguf_packed *how;
    enum dtype to;
    int64_t first;
    char *data;
};

/* Where row r of a head of `rows` is stored: row i of one half beside row i of the other. */
static int64_t stored_row(int64_t r, int64_t rows)
{
    if (!rows)
        return r;
    int64_t in_head = r % rows, half = rows / 2;
    return r - in_head + 2 * (in_head % half) + in_head / half;
}

static void unpack_row(void *context, size_t row)
{
    const struct unpacking *u = context;
    const struct gguf_packed *how = u->how;
    size_t n = (size_t)how->columns, stride = n / how->type->block * how->type->bytes;
    const unsigned char *from = (const unsigned char *)how->packed.bytes +
                                (size_t)stored_row(u->first + (int64_t)row, how->paired) * stride;
    void *to = u->data + row * n * dtype_size(u->to);
    if (how->type->block == 1)
        memcpy(to, from, stride);
    else
        gguf_expand(how->type, from, n, to);
    if (how->offset != 0)
        for (size_t i = 0; i < n; i++)
            dtype_store(u->to, to, i, dtype_load(u->to, to, i) - how->offset);
}

static void unpack(const struct tensor *t, void *data)
{
    struct unpacking u = {(const struct gguf_packed *)t->packed, t->dtype, t->first, data};
    threads_run((size_t)t->shape[0], unpack_row, &u);
}

/* ---- tensors ---- */

static void set_type(struct tensor *t, const struct gguf_tensor *g, const char *path)
{
    if (!g->type->block)
        die(EX_DATAERR,
            "%s: tensor %s is of the type %s, which is not read (F32, F16, BF16, Q8_0, Q4_0, Q4_1, "
            "Q5_0, Q5_1, Q4_K, Q5_K and Q6_K are)",
            path, g->name, g->type->name);
    t->dtype_name = g->type->name;
    t->readable = true;
    t->dtype = g->type->number == GGML_F16 ? F16 : g->type->number == GGML_BF16 ? BF16 : F32;
}

/* Rows of a head, where they are stored by pairs; 0 where not. */
static int64_t paired_rows(const struct gguf *g, const struct gguf_family *f,
                           const struct gguf_tensor *t)
{
    bool q = strstr(t->name, ".attn_q."), k = strstr(t->name, ".attn_k.");
    if (!f->pairs_rows || (!q && !k))
        return 0;
    char *key = xasprintf("%s.attention.head_count", f->name);
    int64_t heads = gguf_whole(g, key, 0);
    free(key);
    key = xasprintf("%s.attention.head_count_kv", f->name);
    if (k)
        heads = gguf_whole(g, key, heads);
    free(key);
    int64_t rows = heads > 0 ? t->shape[0] / heads : 0;
    if (rows == 0 || rows % 2 || rows * heads != t->shape[0])
        die(EX_DATAERR, "%s: tensor %s: %lld rows are not pairs of %lld heads", gguf_path(g),
            t->name, (long long)t->shape[0], (long long)heads);
    return rows;
}

static struct tensor tensor_of(const struct gguf *g, const struct gguf_family *f,
                               const struct gguf_tensor *from)
{
    struct tensor t = {.n_dims = from->n_dims};
    set_type(&t, from, gguf_path(g));
    if (from->n_dims > 2)
        die(EX_DATAERR, "%s: tensor %s has %d dimensions, more than a matrix", gguf_path(g),
            from->name, from->n_dims);
    int64_t rows = from->shape[0], columns = from->n_dims == 2 ? from->shape[1] : 1;
    t.shape[0] = rows;
    t.shape[1] = columns;
    t.bytes = (size_t)(rows * columns) * dtype_size(t.dtype);
    t.data = from->bytes;
    if (from->n_dims == 1 && from->type->block > 1)
        die(EX_DATAERR, "%s: tensor %s is a vector of the type %s, which is not read", gguf_path(g),
            from->name, from->type->name);
    int64_t paired = paired_rows(g, f, from);
    float offset = ends_with(from->name, "norm.weight") ? f->norm_offset : 0;
    if (from->type->block == 1 && !paired && offset == 0)
        return t;
    struct gguf_packed *p = xcalloc(1, sizeof *p);
    *p =
        (struct gguf_packed){.packed = {.bytes = from->bytes, .size = from->size, .unpack = unpack},
                             .type = from->type,
                             .columns = columns,
                             .paired = paired,
                             .offset = offset};
    t.data = NULL;
    t.packed = &p->packed;
    return t;
}

/* Whether gguf_config() reads it. */
static bool is_of_config(const char *name)
{
    return !strcmp(name, "rope_freqs.weight") || !strcmp(name, "rope_factors_short.weight") ||
           !strcmp(name, "rope_factors_long.weight");
}

struct safetensors *gguf_tensors(const char *path)
{
    struct gguf *g = gguf_open(path);
    const struct gguf_family *f = gguf_family(g);
    size_t n = gguf_tensor_count(g), used = 0;
    struct tensor *tensors = xcalloc(n + 1, sizeof *tensors);
    json_t *names = json_object();
    for (size_t i = 0; i < n; i++) {
        const struct gguf_tensor *from = gguf_tensor_at(g, i);
        if (is_of_config(from->name))
            continue;
        struct tensor t = tensor_of(g, f, from);
        char *name = name_elsewhere(f, from->name);
        json_object_set_new(names, name, json_string(from->name));
        t.name = json_object_iter_key(json_object_iter_at(names, name));
        t.stored_name = json_string_value(json_object_get(names, name));
        free(name);
        tensors[used++] = t;
    }
    return safetensors_adopt(path, gguf_release(g), names, tensors, used);
}
