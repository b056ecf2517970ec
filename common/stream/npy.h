/* Arrays of real numbers in NumPy's .npy files: format versions 1 to 3 (numpy.lib.format), float32
 * and float64 of either byte order, C and Fortran order. Files are mapped, not read in. */
#ifndef DUQ_STREAM_NPY_H
#define DUQ_STREAM_NPY_H

#include "common/util/file.h"

#include <stdbool.h>
#include <stddef.h>

enum { NPY_MAX_DIMENSIONS = 3 };

struct npy {
    const char *name; /* of the file, the caller's */
    size_t dimensions;
    size_t shape[NPY_MAX_DIMENSIONS];
    /* The rest is npy.c's. */
    size_t stride[NPY_MAX_DIMENSIONS]; /* in elements */
    size_t element;                    /* bytes */
    bool swapped;
    struct file_map map;
    const unsigned char *data;
};

/* Dies: EX_NOINPUT where it cannot be opened, EX_DATAERR where it is no such array or not whole. */
struct npy npy_open(const char *path);
/* The element at an index for each dimension, each below its shape. */
double npy_at(const struct npy *a, const size_t *index);
void npy_close(struct npy *a);

#endif
