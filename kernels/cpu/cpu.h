/* What the files of the CPU device share. */
#ifndef DUQ_CPU_H
#define DUQ_CPU_H

#include "kernels/ops.h"

/* Compiles a function for several x86-64 levels; the loader picks the processor's. Sanitizers
 * cannot run before the loader has done so. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) &&                             \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CPU_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CPU_CLONES
#endif

#define INLINE static inline __attribute__((always_inline))

/* Sixteen floats: one register with AVX-512, two with AVX. The compiler splits it as needed. */
enum { LANES = 16 };
typedef float vec __attribute__((vector_size(64), aligned(4), may_alias));

/* e^x: 2^n e^r with |r| <= ln(2)/2, e^r by its Taylor polynomial of degree 7, written so that a
 * loop over it becomes vector code. Relative error below 2e-7; 0 below the normal numbers (x <
 * -87.33), held at e^88 above. NaN gives NaN. */
INLINE float fast_exp(float x)
{
    float y = x > 88.0f ? 88.0f : x;
    y = y < -88.0f ? -88.0f : y;
    float shifted = y * 0x1.715476p+0f + 0x1.8p23f; /* its low bits are n */
    float n = shifted - 0x1.8p23f;
    float r = y - n * 0x1.62e4p-1f - n * 0x1.7f7d1cp-20f; /* ln 2 in two parts */
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t bits, power;
    memcpy(&bits, &p, sizeof bits);
    memcpy(&power, &shifted, sizeof power);
    bits += (int32_t)((uint32_t)power << 23);
    memcpy(&p, &bits, sizeof p);
    return x < -87.33f ? 0.0f : p;
}

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

void matmul_open(struct device *);
struct weight *cpu_weight_create(struct device *, const void *data, enum dtype stored, int out,
                                 int in);
void cpu_weight_free(struct device *, struct weight *);
void cpu_matmul(struct device *, const struct weight *, const void *x, const float *bias, float *y,
                int rows, bool accumulate);

void cpu_matmul_backward(struct device *, const struct weight *, const void *dy, float *dx,
                         int rows, bool accumulate);

void cpu_gemm(struct device *, const struct matrix_product *);
/* The same by the calling thread alone, for use within parallel regions. */
void matrix_product(const struct matrix_product *);

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
