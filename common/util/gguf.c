#include "common/util/gguf.h"

#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/foreign_file.h"
#include "common/util/gguf_type.h"
#include "common/util/mem.h"
#include "common/util/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct gguf {
    char *path;
    const unsigned char *base;
    size_t size;
    struct file_map map; /* base, size */
    struct gguf_setting *settings;
    size_t n_settings;
    struct gguf_tensor *tensors;
    size_t n_tensors;
};

/* ---- bytes in order ---- */

struct cursor {
    const struct gguf *file;
    size_t at;
    const char *place; /* for messages */
};

static const unsigned char *take(struct cursor *c, size_t n)
{
    if (n > c->file->size - c->at)
        die(EX_DATAERR, "%s: cut short: it ends within %s; is the download complete?",
            c->file->path, c->place);
    c->at += n;
    return c->file->base + c->at - n;
}

static uint32_t take_u32(struct cursor *c)
{
    uint32_t v;
    memcpy(&v, take(c, sizeof v), sizeof v);
    return v;
}

static uint64_t take_u64(struct cursor *c)
{
    uint64_t v;
    memcpy(&v, take(c, sizeof v), sizeof v);
    return v;
}

/* A number of things that take at least so many bytes each. */
static size_t take_count(struct cursor *c, const char *what, size_t least)
{
    uint64_t n = take_u64(c);
    if (n > (c->file->size - c->at) / least)
        die(EX_DATAERR, "%s: %s: %llu %s are more than the file has room for; is it complete?",
            c->file->path, c->place, (unsigned long long)n, what);
    return (size_t)n;
}

/* A name, NUL-terminated. */
static char *take_name(struct cursor *c)
{
    size_t n = take_count(c, "bytes of a name", 1);
    const unsigned char *s = take(c, n);
    if (n == 0 || memchr(s, 0, n) || utf8_invalid_at((const char *)s, n) < n)
        die(EX_DATAERR, "%s: the name of %s is empty or not UTF-8", c->file->path, c->place);
    char *name = xmalloc(n + 1);
    memcpy(name, s, n);
    name[n] = '\0';
    return name;
}

/* ---- settings ---- */

/* 0: not of one size. */
static size_t kind_size(enum gguf_kind kind)
{
    static const unsigned char sizes[] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2, [GGUF_I16] = 2,
        [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};
    return sizes[kind];
}

static enum gguf_kind take_kind(struct cursor *c)
{
    uint32_t kind = take_u32(c);
    if (kind > GGUF_F64)
        die(EX_DATAERR, "%s: %s is of the type %u, which is none", c->file->path, c->place, kind);
    return (enum gguf_kind)kind;
}

static void take_value(struct cursor *c, struct gguf_setting *s)
{
    s->kind = take_kind(c);
    s->is_array = s->kind == GGUF_ARRAY;
    s->count = 1;
    if (s->is_array) {
        s->kind = take_kind(c);
        if (s->kind == GGUF_ARRAY)
            die(EX_DATAERR, "%s: %s is an array of arrays, which is not supported", c->file->path,
                c->place);
        size_t size = kind_size(s->kind);
        s->count = take_count(c, "elements", size ? size : sizeof(uint64_t));
    }
    size_t start = c->at;
    if (s->kind != GGUF_STRING)
        take(c, s->count * kind_size(s->kind));
    for (size_t i = 0; s->kind == GGUF_STRING && i < s->count; i++)
        take(c, take_count(c, "bytes of a string", 1));
    s->bytes = c->file->base + start;
    s->size = c->at - start;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct gguf_setting *)a)->key, ((const struct gguf_setting *)b)->key);
}

static void read_settings(struct gguf *g, struct cursor *c, size_t n)
{
    g->settings = xcalloc(n + 1, sizeof *g->settings);
    for (; g->n_settings < n; g->n_settings++) {
        struct gguf_setting *s = &g->settings[g->n_settings];
        char *ordinal = xasprintf("setting %zu of %zu", g->n_settings + 1, n);
        c->place = ordinal;
        s->key = take_name(c);
        c->place = s->key;
        take_value(c, s);
        free(ordinal);
    }
    qsort(g->settings, n, sizeof *g->settings, by_key);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(g->settings[i - 1].key, g->settings[i].key))
            die(EX_DATAERR, "%s: the setting %s is there twice", g->path, g->settings[i].key);
}

/* ---- tensors ---- */

/* The format lists the fastest dimension first. */
static void take_shape(struct cursor *c, struct gguf_tensor *t)
{
    uint32_t n = take_u32(c);
    if (n == 0 || n > GGUF_MAX_DIMS)
        die(EX_DATAERR, "%s: tensor %s has %u dimensions, not 1 to %d", c->file->path, t->name, n,
            GGUF_MAX_DIMS);
    t->n_dims = (int)n;
    for (int i = t->n_dims - 1; i >= 0; i--) {
        uint64_t length = take_u64(c);
        if (length == 0 || length > INT32_MAX)
            die(EX_DATAERR, "%s: tensor %s has an impossible shape", c->file->path, t->name);
        t->shape[i] = (int64_t)length;
    }
}

static void measure(const struct gguf *g, struct gguf_tensor *t)
{
    if (!t->type->block)
        return;
    uint64_t row = (uint64_t)t->shape[t->n_dims - 1];
    if (row % t->type->block)
        die(EX_DATAERR, "%s: tensor %s: a row of %llu does not divide into blocks of %u (%s)",
            g->path, t->name, (unsigned long long)row, t->type->block, t->type->name);
    size_t size = (size_t)(row / t->type->block * t->type->bytes);
    for (int i = 0; i < t->n_dims - 1; i++)
        if (__builtin_mul_overflow(size, (size_t)t->shape[i], &size))
            die(EX_DATAERR, "%s: tensor %s has an impossible shape", g->path, t->name);
    t->size = size;
}

/* Leaves the offset within the tensors' bytes in *offset. */
static void take_tensor(struct cursor *c, struct gguf_tensor *t, uint64_t *offset)
{
    const char *ordinal = c->place;
    t->name = take_name(c);
    c->place = t->name;
    take_shape(c, t);
    uint32_t type = take_u32(c);
    t->type = gguf_type(type);
    if (!t->type)
        die(EX_DATAERR, "%s: tensor %s is of the type %u, which is not known", c->file->path,
            t->name, type);
    measure(c->file, t);
    *offset = take_u64(c);
    c->place = ordinal;
}

static uint64_t alignment(const struct gguf *g)
{
    static const char key[] = "general.alignment";
    int64_t a = gguf_whole(g, key, 32);
    if (a < 1 || a > 1 << 24 || a & (a - 1))
        die(EX_DATAERR, "%s: %s is %lld, not a power of two", g->path, key, (long long)a);
    return (uint64_t)a;
}

static int by_place(const void *a, const void *b)
{
    const struct gguf_tensor *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return x->size < y->size ? -1 : x->size > y->size;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct gguf_tensor *)a)->name, ((const struct gguf_tensor *)b)->name);
}

/* Where the tensors lie. offsets: as the file has them. */
static void place_tensors(struct gguf *g, size_t header, const uint64_t *offsets)
{
    uint64_t step = alignment(g), start = (header + step - 1) / step * step;
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct gguf_tensor *t = &g->tensors[i];
        if (offsets[i] % step)
            die(EX_DATAERR, "%s: tensor %s does not begin at a multiple of %llu bytes", g->path,
                t->name, (unsigned long long)step);
        if (start > g->size || offsets[i] > g->size - start ||
            t->size > g->size - start - offsets[i])
            die(EX_DATAERR,
                "%s: tensor %s: its bytes lie outside the file; is the download complete?", g->path,
                t->name);
        t->bytes = g->base + start + offsets[i];
    }
    qsort(g->tensors, g->n_tensors, sizeof *g->tensors, by_place);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (g->tensors[i - 1].bytes + g->tensors[i - 1].size > g->tensors[i].bytes)
            die(EX_DATAERR, "%s: tensors %s and %s overlap", g->path, g->tensors[i - 1].name,
                g->tensors[i].name);
    qsort(g->tensors, g->n_tensors, sizeof *g->tensors, by_name);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (!strcmp(g->tensors[i - 1].name, g->tensors[i].name))
            die(EX_DATAERR, "%s: tensor %s is there twice", g->path, g->tensors[i].name);
}

static void read_tensors(struct gguf *g, struct cursor *c, size_t n)
{
    g->tensors = xcalloc(n + 1, sizeof *g->tensors);
    uint64_t *offsets = xcalloc(n + 1, sizeof *offsets);
    for (; g->n_tensors < n; g->n_tensors++) {
        char *ordinal = xasprintf("tensor %zu of %zu", g->n_tensors + 1, n);
        c->place = ordinal;
        take_tensor(c, &g->tensors[g->n_tensors], &offsets[g->n_tensors]);
        free(ordinal);
    }
    place_tensors(g, c->at, offsets);
    free(offsets);
}

/* ---- the file ---- */

static void map_file(struct gguf *g)
{
    g->map = file_map(g->path, "a GGUF file");
    if (g->map.size < 4)
        die(EX_DATAERR, "%s: not a GGUF file", g->path);
    g->base = g->map.base;
    g->size = g->map.size;
}

static void check_version(const struct gguf *g, uint32_t version)
{
    if (version && !(version & 0xffff))
        die(EX_DATAERR, "%s: a GGUF file for big-endian machines, which is not supported", g->path);
    if (version < 2 || version > 3)
        die(EX_DATAERR, "%s: GGUF version %u is not supported (2 and 3 are)", g->path, version);
}

struct gguf *gguf_open(const char *path)
{
    struct gguf *g = xcalloc(1, sizeof *g);
    g->path = xstrdup(path);
    map_file(g);
    struct cursor c = {g, 0, "its header"};
    foreign_file_refuse(path, (const char *)g->base, g->size < 512 ? g->size : 512);
    if (memcmp(take(&c, 4), "GGUF", 4) != 0)
        die(EX_DATAERR, "%s: not a GGUF file: it does not begin with \"GGUF\"", path);
    check_version(g, take_u32(&c));
    enum { LEAST_TENSOR = 8 + 1 + 4 + 8 + 4 + 8, LEAST_SETTING = 8 + 1 + 4 + 1 };
    size_t tensors = take_count(&c, "tensors", LEAST_TENSOR);
    size_t settings = take_count(&c, "settings", LEAST_SETTING);
    read_settings(g, &c, settings);
    if (gguf_whole(g, "split.count", 1) > 1)
        die(EX_DATAERR,
            "%s: one of several files that a model is split into: join them first (llama.cpp's "
            "llama-gguf-split --merge)",
            path);
    read_tensors(g, &c, tensors);
    return g;
}

struct file_map gguf_release(struct gguf *g)
{
    struct file_map map = g->map;
    for (size_t i = 0; i < g->n_settings; i++)
        free(g->settings[i].key);
    for (size_t i = 0; i < g->n_tensors; i++)
        free(g->tensors[i].name);
    free(g->settings);
    free(g->tensors);
    free(g->path);
    free(g);
    return map;
}

void gguf_close(struct gguf *g)
{
    struct file_map map = gguf_release(g);
    file_unmap(&map);
}

const char *gguf_path(const struct gguf *g)
{
    return g->path;
}

size_t gguf_setting_count(const struct gguf *g)
{
    return g->n_settings;
}

const struct gguf_setting *gguf_setting_at(const struct gguf *g, size_t i)
{
    return &g->settings[i];
}

const struct gguf_setting *gguf_find(const struct gguf *g, const char *key)
{
    struct gguf_setting wanted = {.key = (char *)key};
    return bsearch(&wanted, g->settings, g->n_settings, sizeof wanted, by_key);
}

size_t gguf_tensor_count(const struct gguf *g)
{
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i)
{
    return &g->tensors[i];
}

const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name)
{
    struct gguf_tensor wanted = {.name = (char *)name};
    return bsearch(&wanted, g->tensors, g->n_tensors, sizeof wanted, by_name);
}

/* ---- which file stands for a model ---- */

static bool begins_as_gguf(const char *path)
{
    char bytes[4] = "";
    FILE *f = file_open(path);
    bool yes = fread(bytes, 1, 4, f) == 4 && !memcmp(bytes, "GGUF", 4);
    file_close(f, path);
    return yes;
}

/* The first, in the order of names, of a folder's files that end so; *n: how many there are. */
static char *find_in_folder(const char *folder, const char *end, size_t *n)
{
    char *first = NULL;
    *n = 0;
    DIR *d = folder_open(folder);
    for (const char *name; (name = folder_next(d, folder));)
        if (ends_with(name, end)) {
            ++*n;
            if (first && strcmp(first, name) < 0)
                continue;
            free(first);
            first = xstrdup(name);
        }
    folder_close(d);
    return first;
}

char *gguf_of_model(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return NULL;
    if (!S_ISDIR(st.st_mode))
        return ends_with(path, ".gguf") || begins_as_gguf(path) ? xstrdup(path) : NULL;
    size_t n, others;
    free(find_in_folder(path, ".safetensors", &others));
    char *config = xasprintf("%s/config.json", path);
    bool plain = others || file_exists(config);
    free(config);
    if (plain)
        return NULL;
    char *name = find_in_folder(path, ".gguf", &n);
    if (n > 1)
        die(EX_DATAERR, "%s: holds %zu GGUF files, %s the first: name one of them", path, n, name);
    char *file = name ? xasprintf("%s/%s", path, name) : NULL;
    free(name);
    return file;
}
