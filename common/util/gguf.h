/* GGUF files: settings and tensors, mapped where they lie.
 *
 * A file is "GGUF", its version, how many tensors and settings it has, the settings (key, type,
 * value), the tensors' descriptions (name, shape, type, place), then their bytes; little-endian.
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
#ifndef DUQ_UTIL_GGUF_H
#define DUQ_UTIL_GGUF_H

#include "common/util/file.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GGUF_MAX_DIMS = 4 };

/* Numbers are the format's. */
enum gguf_kind {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64
};

struct gguf_setting {
    char *key;
    bool is_array;
    enum gguf_kind kind; /* of an array, its elements' */
    size_t count;        /* 1, of an array its elements */
    const unsigned char *bytes;
    size_t size;
};

/* An element type of tensors: `block` elements take `bytes` bytes. Of types that are not read
 * only the name is known: block is 0. */
struct gguf_type {
    uint32_t number;
    const char *name;
    unsigned block, bytes;
};

struct gguf_tensor {
    char *name;
    const struct gguf_type *type;
    int n_dims;
    int64_t shape[GGUF_MAX_DIMS]; /* rows before columns, as safetensors has them */
    const unsigned char *bytes;
    size_t size; /* 0 where the type is not read */
};

struct gguf;

/* Dies: EX_NOINPUT when missing, EX_DATAERR when it is not a well-formed file of version 2 or 3, by
 * the setting or tensor at which it is not (cut short, counts that do not fit, tensors outside the
 * file or overlapping ...), or a part of several files. */
struct gguf *gguf_open(const char *path);
void gguf_close(struct gguf *g);
/* As gguf_close(), but the mapped file becomes the caller's, who unmaps it. */
struct file_map gguf_release(struct gguf *g);
const char *gguf_path(const struct gguf *g);

/* The GGUF file that stands for a model: the path itself where it is one by its beginning or its
 * name, or the only one in a folder that has neither config.json nor safetensors. NULL: none. Dies
 * (EX_DATAERR) where a folder has several and nothing else. The caller frees it. */
char *gguf_of_model(const char *path_or_folder);

size_t gguf_setting_count(const struct gguf *g);
const struct gguf_setting *gguf_setting_at(const struct gguf *g, size_t i);
/* NULL when there is none. */
const struct gguf_setting *gguf_find(const struct gguf *g, const char *key);

/* A setting as JSON, its bytes as text must be UTF-8. New reference; dies (EX_DATAERR) at what JSON
 * cannot hold. */
json_t *gguf_json(const struct gguf *g, const struct gguf_setting *s);
/* Single settings and their fallbacks where they are absent. Die (EX_DATAERR) where the setting is
 * of another kind. */
bool gguf_bool(const struct gguf *g, const char *key, bool fallback);
int64_t gguf_whole(const struct gguf *g, const char *key, int64_t fallback);
/* The caller frees it; NULL where it is absent. */
char *gguf_text(const struct gguf *g, const char *key);

/* An array of `count` elements of one kind; NULL where it is absent. Dies where it is no such. */
const struct gguf_setting *gguf_array(const struct gguf *g, const char *key, enum gguf_kind kind);
/* The strings of an array, in order; start from {setting}. The bytes are not NUL-terminated. */
struct gguf_strings {
    const struct gguf_setting *setting;
    size_t at;
};
bool gguf_next_string(struct gguf_strings *strings, const char **s, size_t *len);

size_t gguf_tensor_count(const struct gguf *g);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, size_t i);
/* NULL when there is none. */
const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name);

#endif
