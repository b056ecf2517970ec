/* An adapter at work on a device: what it adds to the base model's products, and its gradients. */
#ifndef DUQ_MODEL_LORA_H
#define DUQ_MODEL_LORA_H

#include "common/model/adapter.h"
#include "kernels/ops.h"

struct lora_set;

/* Copies the adapter to the device. Of lm_head's B the rows of these tokens alone (its product is
 * only asked for there), in their order. The adapter must outlive the set. */
struct lora_set *lora_load(struct device *d, const struct adapter *a, const int32_t *class_tokens,
                           int n_classes);
/* Copies the values back to an adapter of the same shape. lm_head's rows of no class are left as
 * they are. */
void lora_fetch(struct lora_set *s, struct adapter *to);
void lora_free(struct lora_set *s);
/* The adapter that it was loaded from. */
const struct adapter *lora_adapter(const struct lora_set *s);

/* What a layer's A matrices make of their inputs, in the compute type, from there on to the
 * gradients: of a part, A x is [., rank] somewhere in [rows, width]. */
struct lora_low {
    void *p; /* the device's; NULL where width is 0 */
    int rows;
};
/* The ranks of one layer's parts, at the most. s: may be NULL. */
int lora_low_width(const struct lora_set *s);

/* A x, of p and the other parts whose input x is, which is read once where there is no dropout: of
 * q, k and v, or of the last layer k and v, whose q has an input of its own; of gate and up.
 * Nothing where the adapter has none of them. s: may be NULL. x: [rows, in], in the compute type.
 */
void lora_lower(struct lora_set *s, int layer, enum projection p, const void *x, int rows,
                const struct lora_low *low);
/* y[rows, out] += scale B A x for a part the adapter has; else nothing. low: lora_lower() has been
 * called for the part. */
void lora_raise(struct lora_set *s, int layer, enum projection p, const struct lora_low *low,
                int rows, float *y);

/* Both of lm_head, whose x is f32 and whose products are: it has few rows. */
void lora_head(struct lora_set *s, const float *x, int rows, float *logits);

/* ---- training ---- */

/* Dropout on x in the passes that follow; rate 0 turns it off. */
struct lora_dropout {
    double rate;
    uint64_t seed;
    uint32_t pass; /* numbers the forward passes; each part is a stream of its own */
    /* On the device, or NULL: the numbers of a pass's rows (struct dropout), and of its last
     * positions' rows, which are all that lm_head, and past its keys and values the last layer, are
     * given. */
    const int32_t *rows, *last_rows;
};
void lora_set_dropout(struct lora_set *s, const struct lora_dropout *d);

/* All matrices in one array on the device, zeros between them, the A matrices of one input without;
 * their gradients in another of the same layout. The values are the masters, in f32: what products
 * in bf16 take is made of them once after each change, which lora_changed() is told of. */
struct lora_arrays {
    float *values, *gradients; /* [n] */
    size_t n;
};
/* Makes room for the gradients when first called; their contents are not set. */
struct lora_arrays lora_arrays(struct lora_set *s);
void lora_changed(struct lora_set *s);

/* Where a part's A [rank, in] and B [out, rank] (of lm_head, [classes, rank]) lie in them; sizes
 * are 0 for a part the adapter does not have. */
struct lora_place {
    size_t a, a_size, b, b_size;
};
struct lora_place lora_place(const struct lora_set *s, size_t part);

/* Whether the adapter has this part. */
bool lora_has(const struct lora_set *s, int layer, enum projection p);

/* From dy, the gradient by y of lora_raise(), in the compute type, with x and what lora_lower()
 * made of it: adds to the gradients by A and B, and that by x to dx [rows, in] unless dx is NULL.
 * lora_arrays() has been called. dy is not read where the adapter does not have the part. */
void lora_backward(struct lora_set *s, int layer, enum projection p, const void *x,
                   const struct lora_low *low, int rows, const void *dy, float *dx);
/* The same of lora_head(), after it and with its x. */
void lora_head_backward(struct lora_set *s, const float *x, int rows, const float *d_logits,
                        float *dx);

#endif
