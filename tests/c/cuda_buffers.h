/* What the tests of the CUDA device share: opening it, random numbers, and buffers on it with
 * guards on both sides.
 *
 * The device is the plugin that $DUQ_CUDA_PLUGIN names, by default the simulated one of the build.
 * Include it after cmocka.h. */
#ifndef DUQ_TESTS_CUDA_BUFFERS_H
#define DUQ_TESTS_CUDA_BUFFERS_H

#include "common/model/device.h"
#include "common/util/mem.h"
#include "tests/c/random.h"

#include <stdlib.h>

/* Must be called first, and says whether the plugin is the simulated one. */
static inline bool choose_cuda_plugin(void)
{
    if (!getenv("DUQ_CUDA_PLUGIN")) {
        const char *build = getenv("BUILD");
        char *path = xasprintf("%s/cudasim/duq-cuda.so", build ? build : "build");
        setenv("DUQ_CUDA_PLUGIN", path, 1);
        free(path);
    }
    return strstr(getenv("DUQ_CUDA_PLUGIN"), "cudasim") != NULL;
}

static inline struct device *open_cuda(enum dtype compute)
{
    return device_open(&(struct device_request){
        .name = "cuda", .compute = compute == F32 ? COMPUTE_F32 : COMPUTE_BF16});
}

/* ---- numbers ---- */

static inline uint64_t *random_seed(void)
{
    static uint64_t seed = 1;
    return &seed;
}

static inline float *draw_array(size_t n)
{
    return random_numbers(random_seed(), n);
}

/* What x is once rounded to a type, in place; returns a new array of that type. */
static inline void *rounded(enum dtype type, float *x, size_t n)
{
    void *narrow = xreallocarray(NULL, n + 1, dtype_size(type));
    for (size_t i = 0; i < n; i++) {
        dtype_store(type, narrow, i, x[i]);
        x[i] = dtype_load(type, narrow, i);
    }
    return narrow;
}

/* ---- buffers ---- */

enum { GUARD = 256, GUARD_BYTE = 0xa5, MOST_BUFFERS = 64 };

static struct buffer {
    char *base, *p; /* on the device: GUARD bytes and the skew before p, GUARD bytes behind */
    size_t bytes, skew;
} buffers[MOST_BUFFERS];
static int n_buffers;

/* Bytes on the device that start `skew` bytes off the alignment that alloc() gives. */
static inline void *skewed_copy(struct device *d, const void *host, size_t bytes, size_t skew)
{
    assert_true(n_buffers < MOST_BUFFERS);
    size_t all = 2 * GUARD + skew + bytes;
    char *image = xmalloc(all);
    memset(image, GUARD_BYTE, all);
    if (bytes)
        memcpy(image + GUARD + skew, host, bytes);
    char *base = d->alloc(d, all);
    d->upload(d, base, image, all);
    free(image);
    buffers[n_buffers++] = (struct buffer){base, base + GUARD + skew, bytes, skew};
    return base + GUARD + skew;
}

static inline void *copy_of(struct device *d, const void *host, size_t bytes)
{
    return skewed_copy(d, host, bytes, 0);
}

/* Downloads the whole of a buffer, and fails where something was written beside it. */
static inline void fetch(struct device *d, void *host, const void *p)
{
    int i = 0;
    while (i < n_buffers && buffers[i].p != p)
        i++;
    assert_true(i < n_buffers);
    const struct buffer *b = &buffers[i];
    size_t before = GUARD + b->skew, all = before + b->bytes + GUARD;
    unsigned char *image = xmalloc(all);
    d->download(d, image, b->base, all);
    for (size_t j = 0; j < all; j++)
        if (j < before || j >= before + b->bytes)
            assert_int_equal(image[j], GUARD_BYTE);
    if (b->bytes)
        memcpy(host, image + before, b->bytes);
    free(image);
}

static inline void release_buffers(struct device *d)
{
    while (n_buffers > 0)
        d->release(d, buffers[--n_buffers].base);
}

#endif
