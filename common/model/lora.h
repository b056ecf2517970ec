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
/* Copies the adapter's values again after they have changed. */
void lora_refresh(struct lora_set *s);
void lora_free(struct lora_set *s);

/* y[rows, out] += scale B A x, for a part the adapter has; else nothing. s: may be NULL. x: [rows,
 * in] of the type given. */
void lora_forward(struct lora_set *s, int layer, enum projection p, const void *x, enum dtype type,
                  int rows, float *y);

/* ---- training ---- */

/* Dropout on x in the passes that follow; rate 0 turns it off. `step` numbers the forward passes;
 * each part is a stream of its own. */
void lora_set_dropout(struct lora_set *s, double rate, uint64_t seed, uint32_t step);

/* Sets all gradients to zero (and makes room for them at first). */
void lora_clear_gradients(struct lora_set *s);
/* From dy, the gradient by y of lora_forward() with the same x: adds to the gradients by A and B,
 * and that by x to dx [rows, in] unless dx is NULL. */
void lora_backward(struct lora_set *s, int layer, enum projection p, const void *x, enum dtype type,
                   int rows, const float *dy, float *dx);
/* A part's gradients, to host memory laid out as its a and b. lm_head's rows of no class are left
 * as they are. */
void lora_gradients(struct lora_set *s, size_t part, float *a, float *b);

#endif
