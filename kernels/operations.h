/* The operations of a device: the one list that its table (ops.h), each device's prototypes and
 * table, the counting device and the profile are made from. Included where OPERATION is defined,
 * several times; undefines what it was given.
 *
 *   OPERATION(result, name, parameters, arguments)
 *       Of a call's arguments the names alone, as those who hand a call on need them.
 *   SPECIAL_OPERATION
 *       The same of what gives something back or knows weights. OPERATION where not defined.
 *   OPTIONAL_OPERATION
 *       The same of what is NULL in a device that does it another way. SPECIAL_OPERATION where not
 *       defined.
 *
 * To add one: a row here, kernels/cpu/, kernels/cuda/, and its cost in kernels/count/. A device
 * that lacks it does not link. */
#ifndef SPECIAL_OPERATION
#define SPECIAL_OPERATION OPERATION
#endif
#ifndef OPTIONAL_OPERATION
#define OPTIONAL_OPERATION SPECIAL_OPERATION
#endif

/* ---- memory ---- */

/* Contents are not set. */
SPECIAL_OPERATION(void *, alloc, (struct device * d, size_t bytes), (d, bytes))
/* NULL is allowed. */
OPERATION(void, release, (struct device * d, void *memory), (d, memory))
OPERATION(void, upload, (struct device * d, void *to, const void *from, size_t bytes),
          (d, to, from, bytes))
OPERATION(void, download, (struct device * d, void *to, const void *from, size_t bytes),
          (d, to, from, bytes))
/* Bytes that can still be allocated, and all there are. */
SPECIAL_OPERATION(void, memory, (struct device * d, size_t *unused, size_t *total),
                  (d, unused, total))
/* Constant host memory, where the device can read it: the same pointer on a CPU, a copy elsewhere
 * (see `own_memory`). */
SPECIAL_OPERATION(const void *, import, (struct device * d, const void *host, size_t bytes),
                  (d, host, bytes))
OPERATION(void, clear, (struct device * d, void *memory, size_t bytes),
          (d, memory, bytes)) /* to zero */

/* ---- weights ---- */

/* data: host memory [out, in] of type `stored`; the weight is a copy. */
SPECIAL_OPERATION(struct weight *, weight_create,
                  (struct device * d, const void *data, enum dtype stored, int out, int in),
                  (d, data, stored, out, in))
SPECIAL_OPERATION(void, weight_free, (struct device * d, struct weight *w), (d, w))
/* y[rows, out] = x[rows, in] W^T + bias; added to y when accumulate. x has the compute type; bias
 * is f32 [out] or NULL. */
SPECIAL_OPERATION(void, matmul,
                  (struct device * d, const struct weight *w, const void *x, const float *bias,
                   float *y, int rows, bool accumulate),
                  (d, w, x, bias, y, rows, accumulate))
/* out[rows, out] = activation(x Wg^T + bg) * (x Wu^T + bu), in the compute type: what glu makes of
 * two matmuls, without their results in memory. NULL where a device does it that way. */
OPTIONAL_OPERATION(void, gated_matmul,
                   (struct device * d, enum activation activation, const struct weight *gate,
                    const struct weight *up, const void *x, const float *gate_bias,
                    const float *up_bias, void *out, int rows),
                   (d, activation, gate, up, x, gate_bias, up_bias, out, rows))
/* dx[rows, in] = dy[rows, out] W, added to dx when accumulate. dy has the compute type. */
SPECIAL_OPERATION(void, matmul_backward,
                  (struct device * d, const struct weight *w, const void *dy, float *dx, int rows,
                   bool accumulate),
                  (d, w, dy, dx, rows, accumulate))

/* ---- rows ---- */

/* out[i] = table[ids[i]], table [., width] imported, of type `stored`. */
OPERATION(void, embed,
          (struct device * d, const void *table, enum dtype stored, int width, const int32_t *ids,
           int n, float *out),
          (d, table, stored, width, ids, n, out))
/* to[i] = from[rows[i]] */
OPERATION(void, gather,
          (struct device * d, const float *from, const int32_t *rows, int n, int width, float *to),
          (d, from, rows, n, width, to))
/* to[rows[i]] += from[i] */
OPERATION(void, scatter_add,
          (struct device * d, const float *from, const int32_t *rows, int n, int width, float *to),
          (d, from, rows, n, width, to))
/* out = gain * x / sqrt(mean(x^2) + eps), rounded to out_type (Zhang & Sennrich 2019); out may be
 * x. */
OPERATION(void, rmsnorm,
          (struct device * d, const float *x, const float *gain, float eps, int rows, int width,
           void *out, enum dtype out_type),
          (d, x, gain, eps, rows, width, out, out_type))
/* dx += the gradient by x, from dy by rmsnorm's result. */
OPERATION(void, rmsnorm_backward,
          (struct device * d, const float *x, const float *gain, float eps, int rows, int width,
           const float *dy, float *dx),
          (d, x, gain, eps, rows, width, dy, dx))
/* Rotates pairs (x[i], x[i + dims/2]), i < dims/2, of every head of row r by the angle of
 * positions[r], in place; cosine and sine are tables [position, dims/2] (Su et al. 2021, in the
 * half-split layout of Hugging Face checkpoints). A head's dimensions from dims on stay. */
OPERATION(void, rope,
          (struct device * d, float *x, int rows, int heads, int head_dim, int dims,
           const int32_t *positions, const float *cosine, const float *sine),
          (d, x, rows, heads, head_dim, dims, positions, cosine, sine))
/* out[i] = activation(gate[i]) * up[i], in the compute type (Shazeer 2020). */
OPERATION(void, glu,
          (struct device * d, enum activation activation, const float *gate, const float *up,
           size_t n, void *out),
          (d, activation, gate, up, n, out))
/* The gradients by gate and up, in the compute type. */
OPERATION(void, glu_backward,
          (struct device * d, enum activation activation, const float *gate, const float *up,
           const float *d_out, size_t n, void *d_gate, void *d_up),
          (d, activation, gate, up, d_out, n, d_gate, d_up))
/* x[i] = cap tanh(x[i] / cap) */
OPERATION(void, cap, (struct device * d, float cap, float *x, size_t n), (d, cap, x, n))
/* dx[i] *= 1 - (y[i] / cap)^2, with y what cap() made: from the gradient by it to that by x. */
OPERATION(void, cap_backward, (struct device * d, float cap, const float *y, float *dx, size_t n),
          (d, cap, y, dx, n))
/* to[i] += factor * from[i] */
OPERATION(void, add, (struct device * d, float factor, const float *from, float *to, size_t n),
          (d, factor, from, to, n))
/* Between F32 and BF16, or a copy. */
OPERATION(void, convert,
          (struct device * d, const void *from, enum dtype from_type, void *to, enum dtype to_type,
           size_t n),
          (d, from, from_type, to, to_type, n))

/* ---- attention ---- */

OPERATION(void, attention, (struct device * d, const struct attention *a), (d, a))
OPERATION(void, attention_backward, (struct device * d, const struct attention_backward *b), (d, b))
/* Bytes that attention(), or attention_backward(), takes for itself at once, beside what is
 * allocated; of its argument only spans_at and the sizes are looked at. NULL where that is not the
 * device's own memory. */
OPTIONAL_OPERATION(size_t, attention_memory,
                   (struct device * d, const struct attention *a, bool backward), (d, a, backward))

/* ---- products of matrices that are no weights ---- */

OPERATION(void, gemm, (struct device * d, const struct matrix_product *m), (d, m))
OPERATION(void, lower, (struct device * d, const struct lowering *l), (d, l))
OPERATION(void, lower_backward, (struct device * d, const struct lowering_backward *b), (d, b))
/* logits[rows, classes] = h[rows, width] w^T, all f32: the few rows of the output matrix that are
 * asked for. */
OPERATION(void, class_logits,
          (struct device * d, const float *h, int rows, const float *w, int classes, int width,
           float *logits),
          (d, h, rows, w, classes, width, logits))

/* ---- losses and optimizer ---- */

OPERATION(void, loss, (struct device * d, const struct loss_batch *b), (d, b))
/* *sum += sum_i x[i]^2, in double precision and one order; sum is the device's. */
OPERATION(void, add_squares, (struct device * d, const float *x, size_t n, double *sum),
          (d, x, n, sum))
OPERATION(void, scale, (struct device * d, float factor, float *x, size_t n), (d, factor, x, n))
OPERATION(void, adamw,
          (struct device * d, const struct adamw_factors *factors, const float *gradient,
           float *value, float *m, float *v, size_t n),
          (d, factors, gradient, value, m, v, n))

#undef OPERATION
#undef SPECIAL_OPERATION
#undef OPTIONAL_OPERATION
