/* A path: the inner loops of the CPU device, compiled for one kind of processor. Every path does
 * the same operations in the same order on single-precision numbers (each multiply-add rounds
 * once), so results in f32 have the same bits on all of them. bf16 products have those of the
 * path's own instruction, or, without one, of f32 products of the widened operands.
 *
 * Panels. A product C = A B adds up, for each element of C, a[0] b[0], a[1] b[1], ... one after
 * another. Operands are taken in words of 32 bits: one f32 number, or two neighbouring bf16 numbers
 * of the sum's index.
 *   A's panel: up to `rows` rows, in chunks of CHUNK words: [chunk][row][CHUNK]
 *   B's panel: PANEL columns: [word][PANEL]
 *   C: [row][PANEL] f32 */
#ifndef DUQ_CPU_PATH_H
#define DUQ_CPU_PATH_H

#include "kernels/ops.h"

enum { PANEL = 32, CHUNK = 16, MOST_PANEL_ROWS = 16 };

/* How a path multiplies one type. */
struct multiplier {
    int rows;    /* of a full panel of A */
    bool padded; /* a last panel of fewer rows is filled up with zeros */
    /* A thread calls these round its multiplications; NULL: there is nothing to do. */
    void (*begin)(void), (*end)(void);
    /* C = A B, or C += A B: the panels of A that hold `rows` rows, a_step words apart, with the
     * first `columns` of one panel of B, CHUNK or PANEL, over `words` words. C has room for whole
     * panels where they are padded. */
    void (*multiply)(const uint32_t *a, size_t a_step, const uint32_t *b, int rows, int columns,
                     int words, float *c, bool add);
};

static inline void multiplier_begin(const struct multiplier *m)
{
    if (m->begin)
        m->begin();
}

static inline void multiplier_end(const struct multiplier *m)
{
    if (m->end)
        m->end();
}

struct path {
    const char *name;            /* as DUQ_ISA spells it */
    struct multiplier f32, bf16; /* bf16.multiply is NULL where it is f32's of widened operands */

    /* Of words of 32 bits: to[j * to_step + i] = from[i * from_step + j] for i, j below 16. */
    void (*transpose16)(const void *from, size_t from_step, void *to, size_t to_step);
    /* Pairs along one side of a matrix to pairs along the other: from[i][j], i < CHUNK, j < PANEL,
     * holds the elements (2 i, j) and (2 i + 1, j); to[j / 2][2 i or 2 i + 1] holds (., j) and
     * (., j + 1). Rows of both are PANEL words. */
    void (*turn_pairs)(const uint32_t *from, uint32_t *to);

    /* y[row][column] = scale c + bias, or that added to it; c is panel after panel of PANEL
     * columns, c_step floats apart, and bias may be NULL. */
    void (*store)(const float *c, size_t c_step, int rows, int columns, float scale,
                  const float *bias, float *y, size_t y_step, bool accumulate);

    /* out = activation(gate + gate_bias) * (up + up_bias) in `type`, biases being NULL or of each
     * column; rows of gate and up are PANEL floats, those of out out_step elements. */
    void (*store_gated)(enum activation, const float *gate, const float *up, int rows, int columns,
                        const float *gate_bias, const float *up_bias, void *out, size_t out_step,
                        enum dtype type);

    /* ---- rows ---- */
    void (*widen)(enum dtype type, const void *from, size_t n, float *to);
    void (*narrow)(const float *from, size_t n, void *to); /* to bf16 */
    /* words[i] = the bf16 of low[i], and above it that of high[i] */
    void (*pair)(const float *low, const float *high, size_t n, uint32_t *words);
    /* The low and the high halves of words, of type BF16 or F16, as f32. */
    void (*split)(enum dtype type, const uint32_t *words, size_t n, float *low, float *high);
    float (*dot)(const float *a, const float *b, int n);
    void (*rmsnorm)(const float *x, const float *gain, float eps, int width, void *out,
                    enum dtype out_type);
    void (*rope)(float *x, int heads, int head_dim, int dims, const float *cosine,
                 const float *sine);
    void (*glu)(enum activation, const float *gate, const float *up, size_t n, void *out,
                enum dtype type);
    void (*rmsnorm_backward)(const float *x, const float *gain, float eps, int width,
                             const float *dy, float *dx);
    void (*glu_backward)(enum activation, const float *gate, const float *up, const float *d_out,
                         size_t n, void *d_gate, void *d_up, enum dtype type);
    void (*cap)(float cap, float *x, size_t n);
    void (*cap_backward)(float cap, const float *y, float *dx, size_t n);
    void (*add)(float factor, const float *from, float *to, size_t n);
    /* words[i] = low[i], and above it high[i], of bf16 */
    void (*zip)(const uint16_t *low, const uint16_t *high, size_t n, uint32_t *words);
    /* Of a row's columns which dropout keeps: column c is bit c % 32 of word c / 32. */
    void (*keep)(const struct dropout *, int row, int width, uint32_t *kept);
    /* out[i] = scale x[i] where bit i says so, 0 elsewhere; of bf16 x[i] itself. */
    void (*drop)(const uint32_t *kept, int n, const float *x, float scale, float *out);
    void (*drop_bf16)(const uint32_t *kept, int n, const uint16_t *x, uint16_t *out);

    /* ---- attention (kernels/cpu/attention.c) ---- */
    /* One block of keys for PANEL queries: scores [keys][PANEL] become e^(score - maximum), with
     * maximum and sum brought up to date; shrink is what that does to earlier sums. */
    void (*softmax_block)(float *scores, int keys, float *maximum, float *sum, float *shrink);
    /* Hides from each query, whose own position is last[c], the keys after it and those before its
     * window: scores [keys][PANEL] of keys from `position` on become minus infinity. */
    void (*hide)(float *scores, int keys, int position, const int32_t *last, int window);
    /* x[i][PANEL] *= factor[PANEL] for i < rows */
    void (*scale_columns)(float *x, int rows, const float *factor);
    /* scores [keys][PANEL] become e^(scale score - lse). */
    void (*probabilities)(float *scores, int keys, float scale, const float *lse);
    /* along[c] += the sum over keys of p dp, in order. */
    void (*add_along)(const float *p, const float *dp, int keys, float *along);
    /* scores = cap tanh(scores / cap), and the slope of that, slope [keys][PANEL] = 1 -
     * tanh(scores / cap)^2, unless slope is NULL. */
    void (*cap_scores)(float *scores, int keys, float cap, float *slope);
    /* x[keys][PANEL] *= by[keys][PANEL] */
    void (*multiply_scores)(float *x, const float *by, int keys);
    /* dp = scale p (dp - along) */
    void (*score_gradients)(const float *p, float *dp, int keys, float scale, const float *along);
};

/* The paths that this processor has, the best first; NULL ends them. */
const struct path *const *paths_here(void);
/* The one named by DUQ_ISA, else the best. Ends the program (EX_UNAVAILABLE) where DUQ_ISA names
 * none of those here. */
const struct path *path_choose(void);

#endif
