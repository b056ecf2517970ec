/* Operations that treat rows, or elements, one by one: embedding, gather, RMSNorm, rotary
 * positions, SwiGLU, class logits. Each is bound by memory; products are where the time goes. */
#include "kernels/cpu/cpu.h"

#include <math.h>

/* Below this many elements starting threads costs more than it gives. */
enum { PARALLEL_FROM = 16384 };

CPU_CLONES static void embed_row(const void *table, enum dtype stored, int width, int32_t id,
                                 float *out)
{
    size_t first = (size_t)id * (size_t)width;
    for (int i = 0; i < width; i++)
        out[i] = dtype_load(stored, table, first + (size_t)i);
}

void cpu_embed(struct device *d, const void *table, enum dtype stored, int width,
               const int32_t *ids, int n, float *out)
{
    (void)d;
#pragma omp parallel for if ((size_t)n * (size_t)width > PARALLEL_FROM)
    for (int r = 0; r < n; r++)
        embed_row(table, stored, width, ids[r], out + (size_t)r * (size_t)width);
}

void cpu_gather(struct device *d, const float *from, const int32_t *rows, int n, int width,
                float *to)
{
    (void)d;
    for (int r = 0; r < n; r++)
        memcpy(to + (size_t)r * (size_t)width, from + (size_t)rows[r] * (size_t)width,
               (size_t)width * sizeof *to);
}

/* sum_i a[i] b[i] in a fixed order: lane j takes the elements j, j + 16, ... */
INLINE float dot(const float *a, const float *b, int n)
{
    float lane[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += a[i + j] * b[i + j];
    for (int j = 0; i + j < n; j++)
        lane[j] += a[i + j] * b[i + j];
    for (int half = LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++)
            lane[j] += lane[j + half];
    return lane[0];
}

CPU_CLONES static void rmsnorm_row(const float *x, const float *gain, float eps, int width,
                                   void *out, enum dtype out_type)
{
    float scale = 1.0f / sqrtf(dot(x, x, width) / (float)width + eps);
    if (out_type == F32)
        for (int i = 0; i < width; i++)
            ((float *)out)[i] = gain[i] * (x[i] * scale);
    else
        for (int i = 0; i < width; i++)
            ((uint16_t *)out)[i] = bf16_from_f32(gain[i] * (x[i] * scale));
}

void cpu_rmsnorm(struct device *d, const float *x, const float *gain, float eps, int rows,
                 int width, void *out, enum dtype out_type)
{
    (void)d;
#pragma omp parallel for if ((size_t)rows * (size_t)width > PARALLEL_FROM)
    for (int r = 0; r < rows; r++) {
        size_t first = (size_t)r * (size_t)width;
        rmsnorm_row(x + first, gain, eps, width, (char *)out + first * dtype_size(out_type),
                    out_type);
    }
}

CPU_CLONES static void rope_row(float *x, int heads, int head_dim, const float *cosine,
                                const float *sine)
{
    int half = head_dim / 2;
    for (int h = 0; h < heads; h++) {
        float *a = x + (size_t)h * (size_t)head_dim, *b = a + half;
        for (int i = 0; i < half; i++) {
            float ai = a[i], bi = b[i];
            a[i] = ai * cosine[i] - bi * sine[i];
            b[i] = bi * cosine[i] + ai * sine[i];
        }
    }
}

void cpu_rope(struct device *d, float *x, int rows, int heads, int head_dim,
              const int32_t *positions, const float *cosine, const float *sine)
{
    (void)d;
    size_t width = (size_t)heads * (size_t)head_dim, half = (size_t)head_dim / 2;
#pragma omp parallel for if ((size_t)rows * width > PARALLEL_FROM)
    for (int r = 0; r < rows; r++)
        rope_row(x + (size_t)r * width, heads, head_dim, cosine + (size_t)positions[r] * half,
                 sine + (size_t)positions[r] * half);
}

CPU_CLONES static void swiglu_chunk(const float *gate, const float *up, size_t n, void *out,
                                    enum dtype type)
{
    if (type == F32)
        for (size_t i = 0; i < n; i++)
            ((float *)out)[i] = gate[i] / (1.0f + fast_exp(-gate[i])) * up[i];
    else
        for (size_t i = 0; i < n; i++)
            ((uint16_t *)out)[i] = bf16_from_f32(gate[i] / (1.0f + fast_exp(-gate[i])) * up[i]);
}

void cpu_swiglu(struct device *d, const float *gate, const float *up, size_t n, void *out)
{
    enum { CHUNK = 4096 };
#pragma omp parallel for if (n > PARALLEL_FROM)
    for (size_t first = 0; first < n; first += CHUNK)
        swiglu_chunk(gate + first, up + first, n - first < CHUNK ? n - first : CHUNK,
                     (char *)out + first * dtype_size(d->compute), d->compute);
}

CPU_CLONES static void class_logits_row(const float *h, const float *w, int classes, int width,
                                        float *logits)
{
    for (int c = 0; c < classes; c++)
        logits[c] = dot(h, w + (size_t)c * (size_t)width, width);
}

void cpu_class_logits(struct device *d, const float *h, int rows, const float *w, int classes,
                      int width, float *logits)
{
    (void)d;
#pragma omp parallel for if ((size_t)rows * (size_t)classes * (size_t)width > PARALLEL_FROM)
    for (int r = 0; r < rows; r++)
        class_logits_row(h + (size_t)r * (size_t)width, w, classes, width,
                         logits + (size_t)r * (size_t)classes);
}
