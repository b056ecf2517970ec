/* What the files of the CPU device share. */
#ifndef DUQ_CPU_H
#define DUQ_CPU_H

#include "kernels/ops.h"

#include "kernels/cpu/path.h"
#include "kernels/cpu/product.h"

/* The device's state. */
struct cpu {
    char *description, computes[32]; /* the device's */
    const struct path *path;
    struct room room; /* of the product under way */
    struct room kept; /* what dropout keeps of its operands */
};

static inline const struct path *cpu_path(const struct device *d)
{
    return ((const struct cpu *)d->state)->path;
}

static inline struct room *cpu_room(struct device *d)
{
    return &((struct cpu *)d->state)->room;
}

/* cpu_device_open() with a path other than the one that would be chosen. */
struct device *cpu_device_on_path(enum dtype compute, int threads, const struct path *path);

/* Calls body for the indices first, ..., end - 1, a piece of `step` at most of 0, ..., n - 1: by
 * all threads where `work` (elements, say) is worth waking them. */
void cpu_each(size_t n, size_t step, size_t work,
              void (*body)(void *context, size_t first, size_t end), void *context);

/* The operations: cpu_rmsnorm() ... */
#define OPERATION(result, name, parameters, arguments) result cpu_##name parameters;
#define OPTIONAL_OPERATION(...)
#include "kernels/operations.h"
void cpu_gated_matmul(struct device *, enum activation, const struct weight *gate,
                      const struct weight *up, const void *x, const float *gate_bias,
                      const float *up_bias, void *out, int rows);

#endif
