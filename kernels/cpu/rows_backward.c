/* Gradients of the operations in rows.c, dropout, and what the backward pass moves about. */
#include "common/util/philox.h"
#include "kernels/cpu/cpu.h"

#include <math.h>

enum { PARALLEL_FROM = 16384 };

/* y = gain x r with r = (mean(x^2) + eps)^-1/2: dx = r (gain dy) - x r^3 mean(x gain dy) */
CPU_CLONES static void rmsnorm_backward_row(const float *x, const float *gain, float eps, int width,
                                            const float *dy, float *dx)
{
    float squares[LANES] = {0}, along[LANES] = {0};
    int i = 0;
    for (; i + LANES <= width; i += LANES)
        for (int j = 0; j < LANES; j++) {
            squares[j] += x[i + j] * x[i + j];
            along[j] += x[i + j] * (gain[i + j] * dy[i + j]);
        }
    for (int j = 0; i + j < width; j++) {
        squares[j] += x[i + j] * x[i + j];
        along[j] += x[i + j] * (gain[i + j] * dy[i + j]);
    }
    for (int j = 1; j < LANES; j++) {
        squares[0] += squares[j];
        along[0] += along[j];
    }
    float r = 1.0f / sqrtf(squares[0] / (float)width + eps);
    float back = r * r * r * (along[0] / (float)width);
    for (i = 0; i < width; i++)
        dx[i] += r * (gain[i] * dy[i]) - back * x[i];
}

void cpu_rmsnorm_backward(struct device *d, const float *x, const float *gain, float eps, int rows,
                          int width, const float *dy, float *dx)
{
    (void)d;
#pragma omp parallel for if ((size_t)rows * (size_t)width > PARALLEL_FROM)
    for (int r = 0; r < rows; r++) {
        size_t first = (size_t)r * (size_t)width;
        rmsnorm_backward_row(x + first, gain, eps, width, dy + first, dx + first);
    }
}

INLINE void swiglu_gradients(float gate, float up, float d, float *d_gate, float *d_up)
{
    float sigmoid = 1.0f / (1.0f + fast_exp(-gate));
    *d_up = d * gate * sigmoid;
    *d_gate = d * up * sigmoid * (1.0f + gate * (1.0f - sigmoid));
}

CPU_CLONES static void swiglu_backward_chunk(const float *gate, const float *up, const float *d,
                                             size_t n, void *d_gate, void *d_up, enum dtype type)
{
    float a, b;
    if (type == F32)
        for (size_t i = 0; i < n; i++) {
            swiglu_gradients(gate[i], up[i], d[i], &a, &b);
            ((float *)d_gate)[i] = a;
            ((float *)d_up)[i] = b;
        }
    else
        for (size_t i = 0; i < n; i++) {
            swiglu_gradients(gate[i], up[i], d[i], &a, &b);
            ((uint16_t *)d_gate)[i] = bf16_from_f32(a);
            ((uint16_t *)d_up)[i] = bf16_from_f32(b);
        }
}

void cpu_swiglu_backward(struct device *d, const float *gate, const float *up, const float *d_out,
                         size_t n, void *d_gate, void *d_up)
{
    enum { CHUNK = 4096 };
#pragma omp parallel for if (n > PARALLEL_FROM)
    for (size_t first = 0; first < n; first += CHUNK)
        swiglu_backward_chunk(gate + first, up + first, d_out + first,
                              n - first < CHUNK ? n - first : CHUNK,
                              (char *)d_gate + first * dtype_size(d->compute),
                              (char *)d_up + first * dtype_size(d->compute), d->compute);
}

void cpu_scatter_add(struct device *d, const float *from, const int32_t *rows, int n, int width,
                     float *to)
{
    (void)d;
    for (int r = 0; r < n; r++) {
        float *row = to + (size_t)rows[r] * (size_t)width;
        for (int i = 0; i < width; i++)
            row[i] += from[(size_t)r * (size_t)width + (size_t)i];
    }
}

CPU_CLONES static void round_chunk(const float *x, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_from_f32(x[i]);
}

CPU_CLONES static void widen_chunk(const uint16_t *x, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = f32_from_bf16(x[i]);
}

void cpu_convert(struct device *d, const void *from, enum dtype from_type, void *to,
                 enum dtype to_type, size_t n)
{
    (void)d;
    enum { CHUNK = 16384 };
#pragma omp parallel for if (n > 4 * CHUNK)
    for (size_t first = 0; first < n; first += CHUNK) {
        size_t count = n - first < CHUNK ? n - first : CHUNK;
        if (from_type == to_type)
            memcpy((char *)to + first * dtype_size(to_type),
                   (const char *)from + first * dtype_size(to_type), count * dtype_size(to_type));
        else if (from_type == F32)
            round_chunk((const float *)from + first, count, (uint16_t *)to + first);
        else
            widen_chunk((const uint16_t *)from + first, count, (float *)to + first);
    }
}

/* Sixteen counters at once, so that the rounds become vector code; keep[4 j + i] is number i of
 * counter j. */
CPU_CLONES static void dropout_row(const struct dropout *o, int row, const void *x, enum dtype type,
                                   int width, float *out, bool accumulate)
{
    uint32_t threshold = dropout_threshold(o->rate);
    float scale = (float)(1.0 / (1.0 - o->rate));
    uint32_t number = (uint32_t)(o->numbers ? o->numbers[row] : row);
    for (int first = 0; first < width; first += 4 * LANES) {
        uint32_t random[4 * LANES];
        for (int j = 0; j < LANES; j++) {
            struct philox counter = {{(uint32_t)(first / 4 + j), number, o->stream, o->step}};
            counter = philox4x32(counter, (uint32_t)o->seed, (uint32_t)(o->seed >> 32));
            for (int i = 0; i < 4; i++)
                random[4 * j + i] = counter.v[i];
        }
        int n = width - first < 4 * LANES ? width - first : 4 * LANES;
        float wide[4 * LANES];
        const float *from = type == F32 ? (const float *)x + first : wide;
        if (type == BF16)
            widen_chunk((const uint16_t *)x + first, (size_t)n, wide);
        for (int i = 0; i < n; i++) {
            float kept = random[i] >= threshold ? from[i] * scale : 0.0f;
            out[first + i] = accumulate ? out[first + i] + kept : kept;
        }
    }
}

void cpu_dropout(struct device *d, const struct dropout *o, const void *x, enum dtype type,
                 int rows, int width, float *out, bool accumulate)
{
    (void)d;
#pragma omp parallel for if ((size_t)rows * (size_t)width > PARALLEL_FROM)
    for (int r = 0; r < rows; r++)
        dropout_row(o, r, (const char *)x + (size_t)r * (size_t)width * dtype_size(type), type,
                    width, out + (size_t)r * (size_t)width, accumulate);
}
