/* What a student's class logits mean: its head. */
#ifndef DUQ_SCORE_HEAD_H
#define DUQ_SCORE_HEAD_H

#include "common/math/loss.h"
#include "common/model/adapter.h"
#include "common/model/answer_tree.h"
#include "common/stream/record.h"

enum head_kind {
    HEAD_NONE,     /* logits are all there is */
    HEAD_SOFTMAX,  /* probabilities: total uncertainty alone */
    HEAD_DIRICHLET /* alphas: total, aleatoric and epistemic */
};

struct head {
    enum head_kind kind;
    struct loss loss; /* of HEAD_DIRICHLET: how alpha is scaled; LOSS_IB_EDL has deviations too */
};

const char *head_name(enum head_kind k); /* "none", "softmax", "dirichlet" */

/* The head asked for, or for NULL the one the adapter (may be NULL) was trained with. Dies
 * (EX_DATAERR) at one that the adapter was not trained with, or that is unknown there. */
struct head head_choose(const enum head_kind *asked, const struct adapter *a);

/* Takes alphas as they are before ALPHA0_FIXED scales them. Dies (EX_DATAERR) where it does not. */
void head_leave_unscaled(struct head *h);

/* Dies (EX_DATAERR) when the adapter was trained on other classes' tokens than the stream's. */
void check_adapter_classes(const struct adapter *a, const struct stream_reader *r,
                           const struct answer_tree *t);

/* What the adapter was trained for, for the header of what it says of another task's texts: an
 * object of its own, "classes" in it where the adapter's duq.json has them. */
json_t *adapter_made_for(const struct adapter *a);

/* The tokens whose logits the head takes, [*count]: the tree's, and of LOSS_IB_EDL after them those
 * of the deviations, which the adapter's duq.json names. The caller frees them. Dies (EX_DATAERR)
 * where deviations come with a tree that is not plain. */
int32_t *head_tokens(const struct head *h, const struct adapter *a, const struct answer_tree *t,
                     int *count);

/* Fills in all of p but id, label and mass, for n classes. logits: loss_outputs(), the classes' and
 * those of deviations. probs, alpha: as many, where p's arrays are put. */
void head_predict(const struct head *h, const float *logits, size_t n, double *probs, double *alpha,
                  struct prediction *p);

#endif
