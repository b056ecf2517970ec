/* The only door between the engine and a device: memory, weights, and the operations a transformer
 * is made of. kernels/cpu/ implements it; a device is the table of its functions.
 *
 * Conventions
 *   Matrices are row-major and dense: x[rows, width] has row r at x + r * width.
 *   "device" pointers come from alloc() or import() and may be offset, never read by the engine.
 *   Activations are f32, except inputs of weight products: those have the device's compute type
 *   (f32, or bf16 with f32 accumulation), which the producing operation rounds to.
 *   Operations are queued in order; download() waits for them. What upload() and the operations are
 *   given on the host may be changed as soon as they return.
 *   What a device cannot do ends the program with a message: EX_UNAVAILABLE when it is not to be
 *   had at all, EX_OSERR when memory runs out or the device fails.
 *
 * Promise: a row of any result depends on that row's inputs alone: not on how many rows are
 * processed with it, nor on the number of threads. So a text's score does not depend on its
 * neighbours in a batch. On the CPU this holds to the last bit, by construction: an element of a
 * product is one sum in the order of k, and attention takes keys in fixed blocks. In f32 every
 * processor does the same operations in the same order, so results are the same bytes on all of
 * them; in bf16 they are on processors that take the same path (kernels/cpu/path.h). On CUDA the
 * promise holds within rounding only, for cuBLAS may sum in another order when the number of rows
 * is another. */
#ifndef DUQ_OPS_H
#define DUQ_OPS_H

#include "common/math/adamw.h"
#include "common/math/loss.h"
#include "common/util/dtype.h"
#include "common/util/everywhere.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

DUQ_C_BEGIN

/* A matrix of the model, [out, in], made ready for products; the implementation's own. */
struct weight;

/* What a gated linear unit's gate goes through: x / (1 + e^-x), or GELU in its approximation by
 * tanh (Hendrycks & Gimpel 2016). */
enum activation { SILU, GELU_TANH };
/* 0.5 x (1 + tanh(t)) is x / (1 + e^-2t), with 2t = x (a + b x^2). */
#define GELU_A 1.59576912f
#define GELU_B 0.0713548163f

/* One sequence's place in a packed batch. Its own keys follow the prefix: own key j stands at
 * position prefix + j. Its queries are those of its last `queries` own positions. */
struct attention_span {
    int32_t query_row, queries; /* rows in q and out */
    int32_t key_row, keys;      /* rows in k and v */
    int32_t prefix_row, prefix; /* rows in prefix_k and prefix_v; prefix may be 0 */
};

/* out = softmax(cap(scale q k^T)) v, causal, for sequences packed back to back; heads / kv_heads
 * query heads share one key head. All pointers are the device's. */
struct attention {
    const float *q;                        /* [., heads * head_dim], rotated */
    const float *k, *v;                    /* [., kv_heads * head_dim], k rotated */
    const float *prefix_k, *prefix_v;      /* the same, shared prefixes; may be NULL */
    const struct attention_span *spans;    /* [n_spans] */
    const struct attention_span *spans_at; /* the same on the host, for sizing launches */
    int n_spans;
    int heads, kv_heads, head_dim;
    int window;  /* a query sees its own and the window - 1 positions before; 0: all */
    float scale; /* positive; usually 1 / sqrt(head_dim) */
    float cap;   /* scores x become cap tanh(x / cap); 0: they stay */
    void *out;   /* [., heads * head_dim], compute type */
    float *lse;  /* [., heads]: log of the softmax's denominator, or NULL */
};

/* C = scale op(A) op(B), added to C when accumulate; op transposes when asked. A and B are f32, or
 * both bf16; sums and C are f32. Rows are `step` elements apart. op(A) is [m, k], op(B) [k, n], C
 * [m, n]. */
struct matrix_product {
    enum dtype type; /* of A and B: F32 or BF16 */
    bool transpose_a, transpose_b;
    int m, n, k;
    float scale;
    const void *a, *b;
    size_t a_step, b_step, c_step;
    float *c;
    bool accumulate;
};

/* Which elements dropout keeps: a function of these and of the row's number and the column alone
 * (Philox4x32-10 with key `seed` and counter {column / 4, number, stream, step}, word column % 4,
 * kept when not below rate * 2^32), so the same on any device. */
struct dropout {
    double rate; /* 0 <= rate < 1 */
    uint64_t seed;
    uint32_t stream, step;
    /* The device's: row r has the number row_numbers[r], or r where this is NULL. */
    const int32_t *row_numbers;
};

static inline uint32_t dropout_threshold(double rate)
{
    return (uint32_t)(rate * 4294967296.0);
}

static inline float dropout_scale(double rate)
{
    return (float)(1.0 / (1.0 - rate));
}

/* How many adapters may share an input: those of q, k and v. */
enum { MOST_LOWERED = 3 };

/* What the A matrices of adapters that share an input make of it, low_i = drop_i(x) A_i^T (Hu et
 * al. 2021): drop_i(x) is x / (1 - rate) where adapter i's dropout keeps it, 0 elsewhere. In f32
 * that is the product's operand; in bf16 the operand is x itself or 0, and the sum is divided. */
struct lowering {
    int n; /* adapters */
    int rows, in;
    int ranks[MOST_LOWERED];
    enum dtype type;                      /* of x and a: F32 or BF16 */
    const void *x;                        /* [rows, in] */
    const void *a;                        /* [sum of ranks, in]: one below the other */
    struct dropout dropout[MOST_LOWERED]; /* of one rate */
    float *low;                           /* [rows, sum of ranks]: side by side */
    void *work; /* [n][rows, in] of `type`, for devices that drop beforehand; not looked at where
                 * the rate is 0 */
};

static inline int lowered_width(const struct lowering *l)
{
    int width = 0;
    for (int i = 0; i < l->n; i++)
        width += l->ranks[i];
    return width;
}

/* The gradients of one of them, from d_low by its result: da += d_low^T drop(x), and dx += drop(
 * d_low A), with the elements of f32 dropped. */
struct lowering_backward {
    int rows, in, rank;
    enum dtype type; /* of x, a and d_low */
    const void *x, *a, *d_low;
    struct dropout dropout;
    float *da, *dx; /* dx: NULL where nobody asks */
    void *work;     /* [rows, in] f32, as above */
};

/* The gradients of attention: of the loss by q, k and v from that by its result. `forward` is what
 * the forward pass was given, with the lse it left; its `out` is not read. */
struct attention_backward {
    struct attention forward;
    const float *d_out;             /* [., heads * head_dim] */
    float *dq;                      /* rows of queries are set */
    float *dk, *dv;                 /* rows of own keys are set */
    float *d_prefix_k, *d_prefix_v; /* rows of prefixes are added to, after dk and dv are set */
    float *work;                    /* [., heads] */
};

/* The losses of a batch's rows and their gradients by the class logits (common/math/loss.h),
 * computed in double precision. */
struct loss_batch {
    struct loss loss;
    int rows, classes;
    double total;        /* examples that the mean is over, or their weights' sum: the gradients are
                          * divided by it */
    double s;            /* the learned ln a0 */
    const float *logits; /* [rows, loss_outputs()] */
    const double *targets; /* [rows, loss_target_size()] */
    const double *weights; /* [rows], of the gradients; NULL: 1 */
    float *d_logits;       /* [rows, loss_outputs()]; may be logits */
    double *values; /* [2, rows]: the rows' losses, then their derivatives by s; without weights,
                     * and undivided */
    double *work;   /* [2, rows, loss_outputs()] */
};

struct device {
    const char *name;        /* its kind: "cpu", "cuda" */
    const char *description; /* for messages: "cpu (8 threads)", "cuda:0 (NVIDIA A100-SXM4-80GB)" */
    enum dtype compute;      /* F32 or BF16 */
    bool own_memory; /* the device has its own: imports are copies, and their host memory may go
                      * once they are made; otherwise it must outlive the device */
    /* `compute` for headers: "f32", "bf16", or "bf16/amx" where results depend on a CPU's path. */
    const char *computes;
    /* What can be done when memory runs out, in the program's words; it sets them as it goes on,
     * NULL until then. The device's message ends with them. */
    const char *advice;
    void *state;

    void (*close)(struct device *);
#define OPERATION(result, name, parameters, arguments) result(*name) parameters;
#include "kernels/operations.h"
};

/* threads: 0 for all of them. Dies (EX_UNAVAILABLE) when the processor cannot do `compute`. */
struct device *cpu_device_open(enum dtype compute, int threads);
/* Whether the processor multiplies bf16 natively, so that computing in it pays. */
bool cpu_has_bf16(void);

DUQ_C_END

#endif
