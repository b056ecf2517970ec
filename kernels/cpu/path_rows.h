/* Inner loops over rows: conversions, norms, rotation, gated linear units, dropout, and attention's
 * softmax. A part of every file path_*.c; contracts are in kernels/cpu/path.h. */
#ifndef DUQ_CPU_PATH_ROWS_H
#define DUQ_CPU_PATH_ROWS_H

#include "common/math/philox.h"
#include "kernels/cpu/lanes.h"
#include "kernels/cpu/path.h"

#include <math.h>

static void transpose16(const void *from_words, size_t from_step, void *to_words, size_t to_step)
{
    const uint32_t *from = from_words;
    uint32_t *to = to_words;
#ifdef __AVX512F__
    /* Blocks of 1, 2, 4 and 8 words change places across the diagonal. */
    __m512i row[CHUNK], next[CHUNK];
    for (int i = 0; i < CHUNK; i++)
        row[i] = _mm512_loadu_si512(from + (size_t)i * from_step);
#pragma GCC unroll 16
    for (int i = 0; i < CHUNK; i += 2) {
        next[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
        next[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < CHUNK; i += 4) {
        row[i] = _mm512_unpacklo_epi64(next[i], next[i + 2]);
        row[i + 1] = _mm512_unpackhi_epi64(next[i], next[i + 2]);
        row[i + 2] = _mm512_unpacklo_epi64(next[i + 1], next[i + 3]);
        row[i + 3] = _mm512_unpackhi_epi64(next[i + 1], next[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        next[i] = _mm512_shuffle_i32x4(row[i], row[i + 4], 0x88);
        next[i + 4] = _mm512_shuffle_i32x4(row[i], row[i + 4], 0xdd);
        next[i + 8] = _mm512_shuffle_i32x4(row[i + 8], row[i + 12], 0x88);
        next[i + 12] = _mm512_shuffle_i32x4(row[i + 8], row[i + 12], 0xdd);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        row[i] = _mm512_shuffle_i32x4(next[i], next[i + 8], 0x88);
        row[i + 8] = _mm512_shuffle_i32x4(next[i], next[i + 8], 0xdd);
    }
    for (int i = 0; i < CHUNK; i++)
        _mm512_storeu_si512(to + (size_t)i * to_step, row[i]);
#else
    for (int i = 0; i < CHUNK; i++)
        for (int j = 0; j < CHUNK; j++)
            to[(size_t)j * to_step + (size_t)i] = from[(size_t)i * from_step + (size_t)j];
#endif
}

/* even[o] = the low halves of row[2 o] and row[2 o + 1], odd[o] = the high ones, o < CHUNK. */
INLINE void mix_pairs(const uint32_t *row, uint32_t *even, uint32_t *odd)
{
#ifdef __AVX512BW__
    enum { HALVES = 32 };
    static const uint16_t low[HALVES] = {0,  2,  4,  6,  8,  10, 12, 14, 16, 18, 20,
                                         22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42,
                                         44, 46, 48, 50, 52, 54, 56, 58, 60, 62};
    __m512i index = _mm512_loadu_si512(low), one = _mm512_set1_epi16(1);
    __m512i a = _mm512_loadu_si512(row), b = _mm512_loadu_si512(row + CHUNK);
    _mm512_storeu_si512(even, _mm512_permutex2var_epi16(a, index, b));
    _mm512_storeu_si512(odd, _mm512_permutex2var_epi16(a, _mm512_add_epi16(index, one), b));
#else
    for (int o = 0; o < CHUNK; o++) {
        even[o] = (row[2 * o] & 0xffff) | row[2 * o + 1] << 16;
        odd[o] = row[2 * o] >> 16 | (row[2 * o + 1] & 0xffff0000);
    }
#endif
}

static void turn_pairs(const uint32_t *from, uint32_t *to)
{
    uint32_t pairs[PANEL * CHUNK];
    for (int i = 0; i < CHUNK; i++)
        mix_pairs(from + i * PANEL, pairs + 2 * i * CHUNK, pairs + (2 * i + 1) * CHUNK);
    for (int i = 0; i < PANEL; i += CHUNK)
        transpose16(pairs + i * CHUNK, CHUNK, to + i, PANEL);
}

/* n columns of one row; n and accumulate are constants where this is inlined. */
INLINE void store_columns(const float *c, int n, float scale, const float *bias, float *y,
                          bool accumulate)
{
    for (int i = 0; i < n; i++) {
        float sum = bias ? scale * c[i] + bias[i] : scale * c[i];
        y[i] = accumulate ? y[i] + sum : sum;
    }
}

static void store(const float *c, size_t c_step, int rows, int columns, float scale,
                  const float *bias, float *y, size_t y_step, bool accumulate)
{
    for (int r = 0; r < rows; r++, c += PANEL, y += y_step)
        for (int first = 0; first < columns; first += PANEL) {
            const float *from = c + (size_t)(first / PANEL) * c_step;
            const float *add = bias ? bias + first : NULL;
            if (columns - first < PANEL)
                store_columns(from, columns - first, scale, add, y + first, accumulate);
            else if (accumulate)
                store_columns(from, PANEL, scale, add, y + first, true);
            else
                store_columns(from, PANEL, scale, add, y + first, false);
        }
}

static void widen(enum dtype type, const void *from, size_t n, float *to)
{
    if (type == F32)
        memcpy(to, from, n * sizeof *to);
    else if (type == BF16)
        for (size_t i = 0; i < n; i++)
            to[i] = dtype_load(BF16, from, i);
    else
        for (size_t i = 0; i < n; i++)
            to[i] = dtype_load(F16, from, i);
}

static void narrow(const float *from, size_t n, void *bf16)
{
    uint16_t *to = bf16;
    for (size_t i = 0; i < n; i++)
        to[i] = bf16_from_f32(from[i]);
}

static void pair(const float *low, const float *high, size_t n, uint32_t *words)
{
    for (size_t i = 0; i < n; i++)
        words[i] = (uint32_t)bf16_from_f32(low[i]) | (uint32_t)bf16_from_f32(high[i]) << 16;
}

static void split(enum dtype type, const uint32_t *words, size_t n, float *low, float *high)
{
    if (type == BF16)
        for (size_t i = 0; i < n; i++) {
            low[i] = f32_from_bf16((uint16_t)words[i]);
            high[i] = f32_from_bf16((uint16_t)(words[i] >> 16));
        }
    else
        for (size_t i = 0; i < n; i++) {
            low[i] = f32_from_f16((uint16_t)words[i]);
            high[i] = f32_from_f16((uint16_t)(words[i] >> 16));
        }
}

/* Adds up the lanes, halves onto halves. */
INLINE float sum_lanes(float lane[LANES])
{
    for (int half = LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++)
            lane[j] += lane[j + half];
    return lane[0];
}

static float dot(const float *a, const float *b, int n)
{
    float lane[LANES] = {0};
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] = multiply_add(a[i + j], b[i + j], lane[j]);
    for (int j = 0; i + j < n; j++)
        lane[j] = multiply_add(a[i + j], b[i + j], lane[j]);
    return sum_lanes(lane);
}

static void rmsnorm(const float *x, const float *gain, float eps, int width, void *out,
                    enum dtype out_type)
{
    float scale = 1.0f / sqrtf(dot(x, x, width) / (float)width + eps);
    if (out_type == F32)
        for (int i = 0; i < width; i++)
            ((float *)out)[i] = gain[i] * (x[i] * scale);
    else
        for (int i = 0; i < width; i++)
            ((uint16_t *)out)[i] = bf16_from_f32(gain[i] * (x[i] * scale));
}

static void rope(float *x, int heads, int head_dim, int dims, const float *cosine,
                 const float *sine)
{
    int half = dims / 2;
    for (int h = 0; h < heads; h++) {
        float *a = x + (size_t)h * (size_t)head_dim, *b = a + half;
        for (int i = 0; i < half; i++) {
            float ai = a[i], bi = b[i];
            a[i] = multiply_add(ai, cosine[i], -(bi * sine[i]));
            b[i] = multiply_add(bi, cosine[i], ai * sine[i]);
        }
    }
}

/* What the gate's value is divided by: 1 + e^-t of SiLU or GELU. */
INLINE float gate_divisor(enum activation activation, float x)
{
    float t = activation == SILU ? x : x * multiply_add(GELU_B, x * x, GELU_A);
    return 1.0f + fast_exp(-t);
}

/* activation is a constant where this is inlined. */
INLINE void glu_of(enum activation activation, const float *gate, const float *up, size_t n,
                   void *out, enum dtype type)
{
    if (type == F32)
        for (size_t i = 0; i < n; i++)
            ((float *)out)[i] = gate[i] / gate_divisor(activation, gate[i]) * up[i];
    else
        for (size_t i = 0; i < n; i++)
            ((uint16_t *)out)[i] =
                bf16_from_f32(gate[i] / gate_divisor(activation, gate[i]) * up[i]);
}

INLINE void glu_columns(enum activation activation, const float *gate, const float *up, size_t n,
                        void *out, enum dtype type)
{
    if (activation == SILU)
        glu_of(SILU, gate, up, n, out, type);
    else
        glu_of(GELU_TANH, gate, up, n, out, type);
}

static void glu(enum activation activation, const float *gate, const float *up, size_t n, void *out,
                enum dtype type)
{
    glu_columns(activation, gate, up, n, out, type);
}

static void store_gated(enum activation activation, const float *gate, const float *up, int rows,
                        int columns, const float *gate_bias, const float *up_bias, void *out,
                        size_t out_step, enum dtype type)
{
    float sums[2][PANEL] = {{0}};
    for (int r = 0; r < rows; r++, gate += PANEL, up += PANEL) {
        store_columns(gate, columns, 1, gate_bias, sums[0], false);
        store_columns(up, columns, 1, up_bias, sums[1], false);
        void *to = (char *)out + (size_t)r * out_step * dtype_size(type);
        if (columns == PANEL)
            glu_columns(activation, sums[0], sums[1], PANEL, to, type);
        else
            glu_columns(activation, sums[0], sums[1], (size_t)columns, to, type);
    }
}

/* y = gain x r with r = (mean(x^2) + eps)^-1/2: dx = r (gain dy) - x r^3 mean(x gain dy) */
static void rmsnorm_backward(const float *x, const float *gain, float eps, int width,
                             const float *dy, float *dx)
{
    float along[LANES] = {0};
    int i = 0;
    for (; i + LANES <= width; i += LANES)
        for (int j = 0; j < LANES; j++)
            along[j] = multiply_add(x[i + j], gain[i + j] * dy[i + j], along[j]);
    for (int j = 0; i + j < width; j++)
        along[j] = multiply_add(x[i + j], gain[i + j] * dy[i + j], along[j]);
    float r = 1.0f / sqrtf(dot(x, x, width) / (float)width + eps);
    float back = r * r * r * (sum_lanes(along) / (float)width);
    for (i = 0; i < width; i++)
        dx[i] += multiply_add(r, gain[i] * dy[i], -(back * x[i]));
}

/* With s = 1 / (1 + e^-t): the derivative of x s is s (1 + x t' (1 - s)). */
INLINE void glu_gradients(enum activation activation, float gate, float up, float d, float *d_gate,
                          float *d_up)
{
    float sigmoid = 1.0f / gate_divisor(activation, gate);
    float along = activation == SILU ? gate : gate * multiply_add(3 * GELU_B, gate * gate, GELU_A);
    *d_up = d * gate * sigmoid;
    *d_gate = d * up * sigmoid * multiply_add(along, 1.0f - sigmoid, 1.0f);
}

/* activation is a constant where this is inlined. */
INLINE void glu_backward_of(enum activation activation, const float *gate, const float *up,
                            const float *d, size_t n, void *d_gate, void *d_up, enum dtype type)
{
    float a, b;
    if (type == F32)
        for (size_t i = 0; i < n; i++) {
            glu_gradients(activation, gate[i], up[i], d[i], &a, &b);
            ((float *)d_gate)[i] = a;
            ((float *)d_up)[i] = b;
        }
    else
        for (size_t i = 0; i < n; i++) {
            glu_gradients(activation, gate[i], up[i], d[i], &a, &b);
            ((uint16_t *)d_gate)[i] = bf16_from_f32(a);
            ((uint16_t *)d_up)[i] = bf16_from_f32(b);
        }
}

static void glu_backward(enum activation activation, const float *gate, const float *up,
                         const float *d, size_t n, void *d_gate, void *d_up, enum dtype type)
{
    if (activation == SILU)
        glu_backward_of(SILU, gate, up, d, n, d_gate, d_up, type);
    else
        glu_backward_of(GELU_TANH, gate, up, d, n, d_gate, d_up, type);
}

static void cap(float cap, float *x, size_t n)
{
    float over = 1.0f / cap;
    for (size_t i = 0; i < n; i++)
        x[i] = cap * fast_tanh(x[i] * over);
}

static void cap_backward(float cap, const float *y, float *dx, size_t n)
{
    float over = 1.0f / cap;
    for (size_t i = 0; i < n; i++) {
        float t = y[i] * over;
        dx[i] *= multiply_add(-t, t, 1.0f);
    }
}

static void add(float factor, const float *from, float *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = multiply_add(factor, from[i], to[i]);
}

static void zip(const uint16_t *low, const uint16_t *high, size_t n, uint32_t *words)
{
    for (size_t i = 0; i < n; i++)
        words[i] = (uint32_t)low[i] | (uint32_t)high[i] << 16;
}

/* philox4x32() of VECTOR counters at once: {group + j, number, stream, step}. */
INLINE void philox_words(uint32_t group, uint32_t number, const struct dropout *o, words x[4])
{
    uint32_t key0 = (uint32_t)o->seed, key1 = (uint32_t)(o->seed >> 32);
    words lane = {0};
    for (int j = 0; j < VECTOR; j++)
        lane[j] = (uint32_t)j;
    x[0] = group + lane;
    x[1] = number - (words){0};
    x[2] = o->stream - (words){0};
    x[3] = o->step - (words){0};
#pragma GCC unroll 10
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        words low0, low2;
        words high0 = multiply_words(x[0], PHILOX_M0, &low0);
        words high2 = multiply_words(x[2], PHILOX_M1, &low2);
        x[0] = high2 ^ x[1] ^ (key0 - (words){0});
        x[2] = high0 ^ x[3] ^ (key1 - (words){0});
        x[1] = low2;
        x[3] = low0;
        key0 += PHILOX_W0;
        key1 += PHILOX_W1;
    }
}

static void keep(const struct dropout *o, int row, int width, uint32_t *kept)
{
    enum { WORD_LANES = 8, WORD = 4 * WORD_LANES }; /* eight counters make a word */
    const int lanes = (int)VECTOR < (int)WORD_LANES ? (int)VECTOR : (int)WORD_LANES;
    words threshold = dropout_threshold(o->rate) - (words){0}, places = {0};
    uint32_t number = (uint32_t)(o->row_numbers ? o->row_numbers[row] : row);
    for (int j = 0; j < VECTOR; j++)
        places[j] = 1u << 4 * (j % WORD_LANES);
    memset(kept, 0, (size_t)(width + WORD - 1) / WORD * sizeof *kept);
    for (int first = 0; first < width; first += 4 * VECTOR) {
        words x[4], bits = {0};
        philox_words((uint32_t)(first / 4), number, o, x);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            bits |= (words)(x[i] >= threshold) & places << i;
        for (int j = 0; j < VECTOR && first + 4 * j < width; j += WORD_LANES) {
            uint64_t two[WORD_LANES / 2] = {0};
            memcpy(two, (const char *)&bits + (size_t)j * sizeof *kept,
                   (size_t)lanes * sizeof *kept);
            uint64_t all = two[0] | two[1] | two[2] | two[3];
            kept[(first + 4 * j) / WORD] |= (uint32_t)(all | all >> 32) << first % WORD;
        }
    }
}

/* n is a constant where this is inlined. */
INLINE void drop_word(uint32_t kept, int n, const float *x, float scale, float *out)
{
    for (int i = 0; i < n; i++)
        out[i] = kept & 1u << i ? x[i] * scale : 0.0f;
}

static void drop(const uint32_t *kept, int n, const float *x, float scale, float *out)
{
    for (; n >= 32; n -= 32, x += 32, out += 32)
        drop_word(*kept++, 32, x, scale, out);
    if (n > 0)
        drop_word(*kept, n, x, scale, out);
}

INLINE void drop_word_bf16(uint32_t kept, int n, const uint16_t *x, uint16_t *out)
{
    for (int i = 0; i < n; i++)
        out[i] = x[i] & (uint16_t) - (kept >> i & 1);
}

static void drop_bf16(const uint32_t *kept, int n, const uint16_t *x, uint16_t *out)
{
    for (; n >= 32; n -= 32, x += 32, out += 32)
        drop_word_bf16(*kept++, 32, x, out);
    if (n > 0)
        drop_word_bf16(*kept, n, x, out);
}

static void softmax_block(float *scores, int keys, float *maximum, float *sum, float *shrink)
{
    float top[PANEL], total[PANEL];
    for (int c = 0; c < PANEL; c++)
        top[c] = maximum[c];
    for (int j = 0; j < keys; j++)
        for (int c = 0; c < PANEL; c++) {
            float x = scores[j * PANEL + c];
            top[c] = x > top[c] ? x : top[c];
        }
    for (int c = 0; c < PANEL; c++) {
        shrink[c] = fast_exp(maximum[c] - top[c]);
        maximum[c] = top[c];
        total[c] = sum[c] * shrink[c];
    }
    for (int j = 0; j < keys; j++)
        for (int c = 0; c < PANEL; c++) {
            float p = fast_exp(scores[j * PANEL + c] - top[c]);
            scores[j * PANEL + c] = p;
            total[c] += p;
        }
    for (int c = 0; c < PANEL; c++)
        sum[c] = total[c];
}

static void scale_columns(float *x, int rows, const float *factor)
{
    for (int i = 0; i < rows; i++)
        for (int c = 0; c < PANEL; c++)
            x[i * PANEL + c] *= factor[c];
}

static void hide(float *scores, int keys, int position, const int32_t *last, int window)
{
    for (int j = 0; j < keys; j++)
        for (int c = 0; c < PANEL; c++) {
            int back = last[c] - (position + j);
            int hidden = back < 0 || back >= window;
            scores[j * PANEL + c] = hidden ? -INFINITY : scores[j * PANEL + c];
        }
}

static void probabilities(float *scores, int keys, float scale, const float *lse)
{
    for (int j = 0; j < keys; j++)
        for (int c = 0; c < PANEL; c++)
            scores[j * PANEL + c] = fast_exp(multiply_add(scale, scores[j * PANEL + c], -lse[c]));
}

static void add_along(const float *p, const float *dp, int keys, float *along)
{
    float sum[PANEL];
    memcpy(sum, along, sizeof sum);
    for (int j = 0; j < keys; j++)
        for (int c = 0; c < PANEL; c++)
            sum[c] = multiply_add(p[j * PANEL + c], dp[j * PANEL + c], sum[c]);
    memcpy(along, sum, sizeof sum);
}

static void cap_scores(float *scores, int keys, float cap, float *slope)
{
    float over = 1.0f / cap;
    for (int i = 0; i < keys * PANEL; i++) {
        float t = fast_tanh(scores[i] * over);
        scores[i] = cap * t;
        if (slope)
            slope[i] = multiply_add(-t, t, 1.0f);
    }
}

static void multiply_scores(float *x, const float *by, int keys)
{
    for (int i = 0; i < keys * PANEL; i++)
        x[i] *= by[i];
}

static void score_gradients(const float *p, float *dp, int keys, float scale, const float *along)
{
    for (int j = 0; j < keys; j++)
        for (int c = 0; c < PANEL; c++) {
            int i = j * PANEL + c;
            dp[i] = scale * p[i] * (dp[i] - along[c]);
        }
}

#define PATH_ROWS                                                                                  \
    .transpose16 = transpose16, .turn_pairs = turn_pairs, .store = store,                          \
    .store_gated = store_gated, .widen = widen, .narrow = narrow, .pair = pair, .split = split,    \
    .dot = dot, .rmsnorm = rmsnorm, .rope = rope, .glu = glu,                                      \
    .rmsnorm_backward = rmsnorm_backward, .glu_backward = glu_backward, .zip = zip, .keep = keep,  \
    .softmax_block = softmax_block, .scale_columns = scale_columns, .hide = hide,                  \
    .probabilities = probabilities, .add_along = add_along, .score_gradients = score_gradients,    \
    .cap = cap, .cap_backward = cap_backward, .add = add, .cap_scores = cap_scores,                \
    .multiply_scores = multiply_scores, .drop = drop, .drop_bf16 = drop_bf16

#endif
