/* An ensemble: its prompts' weights and calibrations, and its members' class probabilities, one
 * text after another, from a stream of scores. */
#ifndef DUQ_UQ_ENSEMBLE_H
#define DUQ_UQ_ENSEMBLE_H

#include "common/stream/record.h"
#include "common/uq/class_probabilities.h"
#include "common/uq/fitted_on.h"
#include "common/util/digest.h"

/* The ensemble's prompts as read from a "weights" stream. */
struct prompt_weights {
    size_t count;
    int *prompts;                     /* [count], ascending; the members' order in predictions */
    double *values;                   /* [count], sum 1 */
    struct calibration *calibrations; /* [count]; NULL: none */
    size_t n_classes;                 /* of the biases; 0: there are none */
    /* The prompts were selected: scores of others are passed over, else they are an error. */
    bool selected;
    struct fitted_on fitted_on; /* of the first prompt's scores */
    json_t *made_for;           /* "task" and "classes" of the scores they were fitted on */
};

/* Reads a weights stream and checks that it was fitted on scores like those of r: the same task,
 * classes, prompts, model and tokenizer; other_task: the same number of prompts, model and
 * tokenizer, and no biases, which are those of classes. Dies (EX_DATAERR) where they differ, at a
 * prompt that appears twice, at weights that do not sum to one, and where biases are not of equal
 * length. */
struct prompt_weights prompt_weights_read(const char *path, const struct stream_reader *r,
                                          bool other_task);
void prompt_weights_free(struct prompt_weights *w);

/* For headers, where the weights alone do not tell the ensemble, for its prompts are calibrated or
 * were selected: "xxh64:" and 16 digits of prompts, weights and calibrations. False where they do.
 */
bool prompt_weights_digest(const struct prompt_weights *w, char digest[DIGEST_SIZE]);

/* Gathers the scores of one text after another. Records may come in any order; texts come out in
 * the order in which their ids first appeared, and a text's memory is held only until it and those
 * before it are whole. */
struct ensemble;

struct ensemble_text {
    const char *id;
    int label;
    const double *members; /* [weights->count * n_classes], smoothed probabilities */
    size_t n_classes;
};

struct ensemble *ensemble_open(struct stream_reader *r, const struct prompt_weights *weights);
/* The next text, false at the end; what it points to lives until the next call. Dies with
 * EX_DATAERR as validation_read() does, but labels may be missing. */
bool ensemble_next(struct ensemble *e, struct ensemble_text *text);
unsigned long ensemble_records(const struct ensemble *e);
unsigned long ensemble_not_number(const struct ensemble *e);
/* Texts so far that the weights were fitted on. */
unsigned long ensemble_fitted_on(const struct ensemble *e);
/* Records passed over, for their prompts were not selected. */
unsigned long ensemble_skipped(const struct ensemble *e);
void ensemble_close(struct ensemble *e);

#endif
