/* Safetensors files: tensors mapped where they lie, and written.
 *
 * A file is the length of its header (u64, little-endian), the header (JSON: name to dtype, shape
 * and byte range), then the bytes. https://github.com/huggingface/safetensors */
#ifndef DUQ_MODEL_SAFETENSORS_H
#define DUQ_MODEL_SAFETENSORS_H

#include "common/util/dtype.h"
#include "common/util/file.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { TENSOR_MAX_DIMS = 8 };

struct packed;

struct tensor {
    const char *name;
    const char *stored_name; /* what the file calls it, where that is another name; or NULL */
    const char *file;        /* for messages */
    const char *dtype_name;  /* as the file spells it */
    bool readable;           /* whether it can be read as one of enum dtype */
    enum dtype dtype;        /* if readable */
    int n_dims;
    int64_t shape[TENSOR_MAX_DIMS];
    const void *data;      /* mapped; need not be aligned; NULL: packed, tensor_data() unpacks it */
    size_t bytes;          /* of data, unpacked */
    struct packed *packed; /* NULL: it lies in the file as it is */
    int64_t first;         /* of packed rows, which is the first here */
    bool asked_for;        /* by safetensors_need() */
};

/* A tensor that its file holds in another type or order; the first member of what its reader knows
 * of that. */
struct packed {
    const void *bytes;   /* mapped */
    size_t size;         /* of these */
    void *data;          /* unpacked, or NULL */
    int64_t first, rows; /* of data */
    /* Writes t's rows, elements of type t->dtype. */
    void (*unpack)(const struct tensor *t, void *data);
};

struct safetensors;

/* One file. Dies: EX_NOINPUT when missing, EX_DATAERR when it is not a well-formed safetensors file
 * (byte ranges outside the file or overlapping, sizes that do not match shapes ...). */
struct safetensors *safetensors_open_file(const char *path);

/* A model folder: model.safetensors, or where there is none, the shards that
 * model.safetensors.index.json lists: transformers' order, so an index that was left over does not
 * matter. Dies as above, and when a tensor in the index is in none of the shards. */
struct safetensors *safetensors_open_folder(const char *folder);

/* Tensors of a file of another format, which is unmapped with them. names: what holds the tensors'
 * names. The tensors, their `packed` (each allocated by itself) and names become the result's. Dies
 * (EX_DATAERR) at two of one name. */
struct safetensors *safetensors_adopt(const char *path, struct file_map map, json_t *names,
                                      struct tensor *tensors, size_t n);

/* No files: a folder that has every tensor which safetensors_need() asks for, of this type and all
 * zero. They take no memory. */
struct safetensors *safetensors_zeros(enum dtype type);

size_t safetensors_count(const struct safetensors *s);
/* Sorted by name. */
const struct tensor *safetensors_at(const struct safetensors *s, size_t i);
/* NULL when there is none of that name. */
const struct tensor *safetensors_find(const struct safetensors *s, const char *name);
/* The "__metadata__" of a file opened by itself, or NULL; borrowed. */
const json_t *safetensors_metadata(const struct safetensors *s);
/* Dies, naming it, when it is missing, of another shape or of a type that is not read (quantised).
 * columns 0: a vector of `rows` elements. */
const struct tensor *safetensors_need(struct safetensors *s, const char *name, int64_t rows,
                                      int64_t columns);
/* Some of its rows. Those of a packed one are unpacked for themselves, one part at a time. */
struct tensor tensor_rows(const struct tensor *t, int64_t first, int64_t rows);
/* The bytes that the file holds, as it holds them. */
const void *tensor_stored(const struct tensor *t, size_t *size);
/* The tensor's elements, of type t->dtype; unpacked, they are there until safetensors_forget(). */
const void *tensor_data(const struct tensor *t);
/* Lets the system take back the memory of a tensor that was copied; it is read anew if used. */
void safetensors_forget(const struct tensor *t);
void safetensors_close(struct safetensors *s);

/* Writes n tensors (name, dtype, shape and data set) beside path, then renames. metadata: string to
 * string, or NULL; borrowed. */
void safetensors_write(const char *path, const struct tensor *tensors, size_t n,
                       const json_t *metadata);

#endif
