/* Predictions from arrays of probabilities: [texts, classes], or [texts, classes, members] of an
 * ensemble, whose members are reduced to their mean and their mean logarithm, or kept. */
#ifndef DUQ_STREAM_NPY_PREDICTIONS_H
#define DUQ_STREAM_NPY_PREDICTIONS_H

#include "common/stream/record.h"

struct npy_options {
    const char *path;
    const char *weights; /* .npy, [members], of the members; NULL: equal ones */
    bool keep_members;   /* in each record, instead of their mean logarithm */
};

struct npy_predictions;

/* Dies (EX_DATAERR) at another shape, and at weights that are none or too few or many. o outlives
 * it. */
struct npy_predictions *npy_predictions_open(const struct npy_options *o);

size_t npy_texts(const struct npy_predictions *p);
size_t npy_classes(const struct npy_predictions *p);
/* [*n] weights; NULL where the array has no members. */
const double *npy_weights(const struct npy_predictions *p, size_t *n);

/* All of out but id and label for the next text, living until the next call. id: for messages. Dies
 * (EX_DATAERR), text, class and member named, at what is no probability, or where those of the
 * classes do not sum to 1 within 1e-4; where they are off by more than 1e-9 they are divided by
 * their sum. The text's number must be below npy_texts(). */
void npy_next(struct npy_predictions *p, const char *id, struct prediction *out);

void npy_predictions_close(struct npy_predictions *p);

#endif
