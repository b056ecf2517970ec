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

/* Calls body for the indices 0, step, 2 step, ... below n: by all threads where `work` (elements,
 * say) is worth waking them. */
void cpu_each(size_t n, size_t step, size_t work, void (*body)(void *context, size_t first),
              void *context);

void cpu_attention(struct device *, const struct attention *);
void cpu_class_logits(struct device *, const float *h, int rows, const float *w, int classes,
                      int width, float *logits);
void cpu_embed(struct device *, const void *table, enum dtype stored, int width, const int32_t *ids,
               int n, float *out);
void cpu_gather(struct device *, const float *from, const int32_t *rows, int n, int width,
                float *to);
void cpu_rmsnorm(struct device *, const float *x, const float *gain, float eps, int rows, int width,
                 void *out, enum dtype out_type);
void cpu_rope(struct device *, float *x, int rows, int heads, int head_dim,
              const int32_t *positions, const float *cosine, const float *sine);
void cpu_swiglu(struct device *, const float *gate, const float *up, size_t n, void *out);

struct weight *cpu_weight_create(struct device *, const void *data, enum dtype stored, int out,
                                 int in);
void cpu_weight_free(struct device *, struct weight *);
void cpu_matmul(struct device *, const struct weight *, const void *x, const float *bias, float *y,
                int rows, bool accumulate);

void cpu_gated_matmul(struct device *, const struct weight *gate, const struct weight *up,
                      const void *x, const float *gate_bias, const float *up_bias, void *out,
                      int rows);

void cpu_matmul_backward(struct device *, const struct weight *, const void *dy, float *dx,
                         int rows, bool accumulate);

void cpu_gemm(struct device *, const struct matrix_product *);

void cpu_attention_backward(struct device *, const struct attention_backward *);
void cpu_convert(struct device *, const void *from, enum dtype from_type, void *to,
                 enum dtype to_type, size_t n);
void cpu_dropout(struct device *, const struct dropout *, const void *x, enum dtype type, int rows,
                 int width, float *out, bool accumulate);
void cpu_rmsnorm_backward(struct device *, const float *x, const float *gain, float eps, int rows,
                          int width, const float *dy, float *dx);
void cpu_scatter_add(struct device *, const float *from, const int32_t *rows, int n, int width,
                     float *to);
void cpu_swiglu_backward(struct device *, const float *gate, const float *up, const float *d_out,
                         size_t n, void *d_gate, void *d_up);

void cpu_loss(struct device *, const struct loss_batch *);
void cpu_add_squares(struct device *, const float *x, size_t n, double *sum);
void cpu_scale(struct device *, float factor, float *x, size_t n);
void cpu_adamw(struct device *, const struct adamw_factors *, const float *gradient, float *value,
               float *m, float *v, size_t n);

#endif
