#include "common/model/safetensors.h"

#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/foreign_file.h"
#include "common/util/json.h"
#include "common/util/mem.h"
#include "common/util/model_folder.h"
#include "common/util/outfile.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_HEADER = 100 << 20 }; /* as the reference implementation has it */

struct mapped_file {
    char *path;
    struct file_map map;
    json_t *header; /* owns the tensors' names */
};

struct safetensors {
    struct mapped_file *files;
    size_t n_files;
    struct tensor *tensors;
    size_t n_tensors;
    bool zeros; /* see safetensors_zeros() */
    enum dtype zeros_type;
};

/* ---- reading ---- */

static struct mapped_file map_file(const char *path)
{
    struct mapped_file f = {.path = xstrdup(path)};
    f.map = file_map(path, "a safetensors file");
    if (f.map.size < 8)
        die(EX_DATAERR, "%s: not a safetensors file (shorter than its own length field)", path);
    foreign_file_refuse(path, f.map.base, f.map.size);
    return f;
}

/* The size of a dtype in the format, 0 for one unknown to us. */
static size_t element_bytes(const char *dtype)
{
    static const struct {
        const char *name;
        size_t bytes;
    } known[] = {{"F64", 8}, {"I64", 8}, {"U64", 8},  {"F32", 4},     {"I32", 4},
                 {"U32", 4}, {"F16", 2}, {"I16", 2},  {"BF16", 2},    {"U16", 2},
                 {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(dtype, known[i].name))
            return known[i].bytes;
    return 0;
}

/* A non-negative integer that fits; -1 otherwise. */
static int64_t whole(const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) >= 0 ? json_integer_value(v) : -1;
}

static struct tensor read_entry(const struct mapped_file *f, const char *name, const json_t *entry,
                                size_t data_start)
{
    struct tensor t = {.name = name, .file = f->path};
    t.dtype_name = json_string_value(json_object_get(entry, "dtype"));
    const json_t *shape = json_object_get(entry, "shape");
    const json_t *range = json_object_get(entry, "data_offsets");
    if (!t.dtype_name || !json_is_array(shape) || json_array_size(range) != 2)
        die(EX_DATAERR, "%s: tensor %s: dtype, shape or data_offsets is missing", f->path, name);
    if (json_array_size(shape) > TENSOR_MAX_DIMS)
        die(EX_DATAERR, "%s: tensor %s: more than %d dimensions", f->path, name, TENSOR_MAX_DIMS);
    t.n_dims = (int)json_array_size(shape);
    size_t bytes = element_bytes(t.dtype_name);
    bool sized = bytes != 0;
    for (int i = 0; i < t.n_dims; i++) {
        t.shape[i] = whole(json_array_get(shape, (size_t)i));
        if (t.shape[i] < 0 || __builtin_mul_overflow(bytes, (size_t)t.shape[i], &bytes))
            die(EX_DATAERR, "%s: tensor %s: impossible shape", f->path, name);
    }
    int64_t begin = whole(json_array_get(range, 0)), end = whole(json_array_get(range, 1));
    size_t available = f->map.size - data_start;
    if (begin < 0 || end < begin || (size_t)end > available)
        die(EX_DATAERR, "%s: tensor %s: its bytes lie outside the file; is the download complete?",
            f->path, name);
    t.bytes = (size_t)(end - begin);
    if (sized && t.bytes != bytes)
        die(EX_DATAERR, "%s: tensor %s: %zu bytes for a shape that takes %zu", f->path, name,
            t.bytes, bytes);
    t.data = (const char *)f->map.base + data_start + begin;
    for (enum dtype d = F32; d <= F16; d++)
        if (!strcmp(t.dtype_name, dtype_name(d))) {
            t.dtype = d;
            t.readable = true;
        }
    return t;
}

static int by_place(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static void add_file(struct safetensors *s, const char *path)
{
    struct mapped_file f = map_file(path);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | ((const unsigned char *)f.map.base)[i];
    if (length > f.map.size - 8 || length > MAX_HEADER)
        die(EX_DATAERR, "%s: not a safetensors file, or cut off (header of %llu bytes)", path,
            (unsigned long long)length);
    json_error_t error;
    f.header =
        json_loadb((const char *)f.map.base + 8, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(f.header))
        die(EX_DATAERR, "%s: not a safetensors file: its header is not a JSON object (%s)", path,
            f.header ? "another value" : error.text);

    size_t first = s->n_tensors;
    s->tensors =
        xreallocarray(s->tensors, first + json_object_size(f.header) + 1, sizeof *s->tensors);
    const char *name;
    json_t *entry;
    json_object_foreach(f.header, name, entry)
    {
        if (strcmp(name, "__metadata__") != 0)
            s->tensors[s->n_tensors++] = read_entry(&f, name, entry, 8 + (size_t)length);
    }
    qsort(s->tensors + first, s->n_tensors - first, sizeof *s->tensors, by_place);
    for (size_t i = first; i + 1 < s->n_tensors; i++)
        if ((const char *)s->tensors[i].data + s->tensors[i].bytes >
            (const char *)s->tensors[i + 1].data)
            die(EX_DATAERR, "%s: tensors %s and %s overlap", path, s->tensors[i].name,
                s->tensors[i + 1].name);
    s->files = xreallocarray(s->files, s->n_files + 1, sizeof *s->files);
    s->files[s->n_files++] = f;
}

static void index_names(struct safetensors *s)
{
    if (s->n_tensors)
        qsort(s->tensors, s->n_tensors, sizeof *s->tensors, by_name);
    for (size_t i = 0; i + 1 < s->n_tensors; i++)
        if (!strcmp(s->tensors[i].name, s->tensors[i + 1].name))
            die(EX_DATAERR, "%s: tensor %s is also in %s", s->tensors[i].file, s->tensors[i].name,
                s->tensors[i + 1].file);
}

struct safetensors *safetensors_open_file(const char *path)
{
    struct safetensors *s = xcalloc(1, sizeof *s);
    add_file(s, path);
    index_names(s);
    return s;
}

static void add_shards(struct safetensors *s, const char *folder)
{
    char *path = xasprintf("%s/model.safetensors.index.json", folder);
    json_t *index = json_read_file(path), *map = json_object_get(index, "weight_map"), *value;
    if (!json_is_object(map) || json_object_size(map) == 0)
        die(EX_DATAERR, "%s: has no weight_map", path);
    const char *name;
    json_t *seen = json_object();
    json_object_foreach(map, name, value)
    {
        const char *file = json_string_value(value);
        if (!file || strchr(file, '/'))
            die(EX_DATAERR, "%s: tensor %s: its file is not a plain file name", path, name);
        if (json_object_get(seen, file))
            continue;
        json_object_set_new(seen, file, json_true());
        char *shard = xasprintf("%s/%s", folder, file);
        add_file(s, shard);
        free(shard);
    }
    json_decref(seen);
    index_names(s);
    json_object_foreach(map, name, value)
    {
        if (!safetensors_find(s, name))
            die(EX_DATAERR, "%s: tensor %s is not in %s", path, name, json_string_value(value));
    }
    json_decref(index);
    free(path);
}

struct safetensors *safetensors_open_folder(const char *folder)
{
    struct safetensors *s = xcalloc(1, sizeof *s);
    if (file_exists_in(folder, "model.safetensors")) {
        char *path = xasprintf("%s/model.safetensors", folder);
        add_file(s, path);
        index_names(s);
        free(path);
    } else if (file_exists_in(folder, "model.safetensors.index.json")) {
        add_shards(s, folder);
    } else {
        model_folder_without_weights(folder);
        die(EX_NOINPUT, "%s: no model.safetensors and no model.safetensors.index.json in it",
            folder);
    }
    return s;
}

struct safetensors *safetensors_zeros(enum dtype type)
{
    struct safetensors *s = xcalloc(1, sizeof *s);
    s->zeros = true;
    s->zeros_type = type;
    return s;
}

/* A tensor of zeros: pages that are never written to are not there. */
static void add_zeros(struct safetensors *s, const char *name, int64_t rows, int64_t columns)
{
    struct mapped_file f = {.path = xstrdup("no file"), .header = json_string(name)};
    f.map.size = (size_t)(rows * (columns ? columns : 1)) * dtype_size(s->zeros_type);
    f.map.base =
        mmap(NULL, f.map.size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (f.map.base == MAP_FAILED)
        die_errno("tensor %s: no room for its addresses", name);
    s->tensors = xreallocarray(s->tensors, s->n_tensors + 1, sizeof *s->tensors);
    s->tensors[s->n_tensors++] = (struct tensor){.name = json_string_value(f.header),
                                                 .file = f.path,
                                                 .dtype_name = dtype_name(s->zeros_type),
                                                 .readable = true,
                                                 .dtype = s->zeros_type,
                                                 .n_dims = columns ? 2 : 1,
                                                 .shape = {rows, columns},
                                                 .data = f.map.base,
                                                 .bytes = f.map.size};
    s->files = xreallocarray(s->files, s->n_files + 1, sizeof *s->files);
    s->files[s->n_files++] = f;
    index_names(s);
}

struct safetensors *safetensors_adopt(const char *path, struct file_map map, json_t *names,
                                      struct tensor *tensors, size_t n)
{
    struct safetensors *s = xcalloc(1, sizeof *s);
    s->files = xcalloc(1, sizeof *s->files);
    s->n_files = 1;
    s->files[0] = (struct mapped_file){.path = xstrdup(path), .map = map, .header = names};
    s->tensors = tensors;
    s->n_tensors = n;
    for (size_t i = 0; i < n; i++)
        s->tensors[i].file = s->files[0].path;
    index_names(s);
    return s;
}

size_t safetensors_count(const struct safetensors *s)
{
    return s->n_tensors;
}

const struct tensor *safetensors_at(const struct safetensors *s, size_t i)
{
    return &s->tensors[i];
}

const struct tensor *safetensors_find(const struct safetensors *s, const char *name)
{
    struct tensor key = {.name = name};
    return s->n_tensors ? bsearch(&key, s->tensors, s->n_tensors, sizeof key, by_name) : NULL;
}

const json_t *safetensors_metadata(const struct safetensors *s)
{
    return json_object_get(s->files[0].header, "__metadata__");
}

/* Dies where a tensor's name says that the model is a quantised one: its config.json had a
 * quantization_config, which was lost. */
static void refuse_quantised(const struct safetensors *s)
{
    static const struct {
        const char *suffix, *format;
    } signs[] = {{".qweight", "GPTQ or AWQ"},
                 {".weight_packed", "compressed-tensors"},
                 {".weight.absmax", "bitsandbytes, 4 bits"},
                 {".SCB", "bitsandbytes, 8 bits"},
                 {".weight_scale", "FP8 or INT8"},
                 {".weight_scale_inv", "FP8"},
                 {".scales", "MLX"}};
    for (size_t i = 0; i < s->n_tensors; i++) {
        const struct tensor *t = &s->tensors[i];
        const char *dot = strstr(t->name, ".weight.absmax");
        if (!dot)
            dot = strrchr(t->name, '.');
        for (size_t k = 0; dot && k < sizeof signs / sizeof *signs; k++)
            if (!strcmp(dot, signs[k].suffix))
                die(EX_DATAERR,
                    "%s: tensor %s: the model is quantised (%s), which is not supported: use its "
                    "bf16 folder",
                    t->file, t->name, signs[k].format);
    }
}

/* What the file calls it. */
static const char *own_name(const struct tensor *t)
{
    return t->stored_name ? t->stored_name : t->name;
}

const struct tensor *safetensors_need(struct safetensors *s, const char *name, int64_t rows,
                                      int64_t columns)
{
    if (s->zeros && !safetensors_find(s, name))
        add_zeros(s, name, rows, columns);
    const struct tensor *t = safetensors_find(s, name);
    bool fits = t && t->n_dims == (columns ? 2 : 1) && t->shape[0] == rows &&
                (!columns || t->shape[1] == columns);
    if (!fits || !t->readable)
        refuse_quantised(s);
    if (!t)
        die(EX_DATAERR, "%s: tensor %s is missing", s->files[0].path, name);
    if (!fits) {
        const char *asks = t->stored_name ? "its own configuration" : "config.json";
        struct buf shape = {0};
        for (int i = 0; i < t->n_dims; i++)
            buf_addf(&shape, "%s%lld", i ? "," : "", (long long)t->shape[i]);
        if (columns)
            die(EX_DATAERR, "%s: tensor %s has the shape [%s], %s asks for [%lld,%lld]", t->file,
                own_name(t), buf_str(&shape), asks, (long long)rows, (long long)columns);
        die(EX_DATAERR, "%s: tensor %s has the shape [%s], %s asks for [%lld]", t->file,
            own_name(t), buf_str(&shape), asks, (long long)rows);
    }
    if (!t->readable)
        die(EX_DATAERR,
            "%s: tensor %s is stored as %s; only F32, BF16 and F16 are read: use the model's "
            "unquantised folder",
            t->file, name, t->dtype_name);
    s->tensors[t - s->tensors].asked_for = true;
    return t;
}

const void *tensor_stored(const struct tensor *t, size_t *size)
{
    *size = t->packed ? t->packed->size : t->bytes;
    return t->packed ? t->packed->bytes : t->data;
}

const void *tensor_data(const struct tensor *t)
{
    struct packed *p = t->packed;
    if (!p)
        return t->data;
    if (!p->data || p->first != t->first || p->rows != t->shape[0]) {
        free(p->data);
        p->data = xaligned(t->bytes);
        p->first = t->first;
        p->rows = t->shape[0];
        p->unpack(t, p->data);
    }
    return p->data;
}

struct tensor tensor_rows(const struct tensor *t, int64_t first, int64_t rows)
{
    struct tensor part = *t;
    size_t row = t->bytes / (size_t)t->shape[0];
    if (t->packed)
        part.first += first;
    else
        part.data = (const char *)t->data + row * (size_t)first;
    part.bytes = row * (size_t)rows;
    part.shape[0] = rows;
    return part;
}

void safetensors_forget(const struct tensor *t)
{
    if (t->packed) {
        free(t->packed->data);
        t->packed->data = NULL;
    }
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    size_t size;
    uintptr_t mapped = (uintptr_t)tensor_stored(t, &size);
    uintptr_t begin = (mapped + page - 1) & ~(page - 1), end = (mapped + size) & ~(page - 1);
    if (end > begin)
        madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void safetensors_close(struct safetensors *s)
{
    for (size_t i = 0; i < s->n_tensors; i++)
        if (s->tensors[i].packed) {
            free(s->tensors[i].packed->data);
            free(s->tensors[i].packed);
        }
    for (size_t i = 0; i < s->n_files; i++) {
        file_unmap(&s->files[i].map);
        json_decref(s->files[i].header);
        free(s->files[i].path);
    }
    free(s->files);
    free(s->tensors);
    free(s);
}

/* ---- writing ---- */

void safetensors_write(const char *path, const struct tensor *tensors, size_t n,
                       const json_t *metadata)
{
    json_t *header = json_object();
    if (metadata)
        json_object_set_new(header, "__metadata__", json_deep_copy(metadata));
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const struct tensor *t = &tensors[i];
        json_t *shape = json_array();
        size_t bytes = dtype_size(t->dtype);
        for (int k = 0; k < t->n_dims; k++) {
            json_array_append_new(shape, json_integer(t->shape[k]));
            bytes *= (size_t)t->shape[k];
        }
        json_object_set_new(header, t->name,
                            json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtype_name(t->dtype), "shape",
                                      shape, "data_offsets", (json_int_t)at,
                                      (json_int_t)(at + bytes)));
        at += bytes;
    }
    char *text = json_text(header, JSON_COMPACT);
    size_t length = strlen(text), padding = -length % 8; /* the data starts aligned */
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)(length + padding) >> 8 * i);

    struct outfile *out = outfile_open(path);
    outfile_write(out, prefix, sizeof prefix);
    fprintf(outfile_stream(out), "%s%*s", text, (int)padding, "");
    for (size_t i = 0; i < n; i++) {
        size_t bytes = dtype_size(tensors[i].dtype);
        for (int k = 0; k < tensors[i].n_dims; k++)
            bytes *= (size_t)tensors[i].shape[k];
        outfile_write(out, tensors[i].data, bytes);
    }
    outfile_finish(out);
    free(text);
    json_decref(header);
}
