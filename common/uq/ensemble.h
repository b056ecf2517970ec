/* From a stream of scores to the ensemble's class probabilities: one text's members, or all
 * validation texts' probabilities of their labels. */
#ifndef DUQ_UQ_ENSEMBLE_H
#define DUQ_UQ_ENSEMBLE_H

#include "common/stream/record.h"

/* The ensemble's prompt weights as read from a "weights" stream. */
struct prompt_weights {
    size_t count;
    int *prompts;   /* [count], ascending; the members' order in predictions */
    double *values; /* [count], sum 1 */
};

/* Reads a weights stream and checks that it was fitted on scores like those of r: the same task,
 * classes, prompts, model and tokenizer. Dies (EX_DATAERR) where they differ, at a prompt that
 * appears twice and at weights that do not sum to one. */
struct prompt_weights prompt_weights_read(const char *path, const struct stream_reader *r);
void prompt_weights_free(struct prompt_weights *w);

/* Softmax of a prompt's class logits, smoothed as the published code does it: 1e-5 added to each
 * probability, then divided by the sum. Logits with NaN or +infinity among them, or all -infinity,
 * give the uniform distribution and false. */
bool class_probabilities(const float *logits, size_t n_classes, double *probs);

/* The labelled scores of a validation set: what prompt weights are fitted to. */
struct label_probabilities {
    size_t n_texts, n_prompts;
    double *p;                /* [n_texts * n_prompts], each prompt's probability of the label */
    unsigned long records;    /* read */
    unsigned long not_number; /* records whose logits gave no probabilities (see above) */
};

/* Reads all of r. The prompts are those that the header announces, or, when it does not say, 0 to
 * the highest seen. Dies with EX_DATAERR, naming id and prompt: a label missing or not the same for
 * every prompt of a text, a score missing or there twice. labelled false: texts need no labels, and
 * p holds zeros. */
struct label_probabilities label_probabilities_read(struct stream_reader *r, bool labelled);
void label_probabilities_free(struct label_probabilities *l);

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
 * EX_DATAERR as label_probabilities_read() does, but labels may be missing. */
bool ensemble_next(struct ensemble *e, struct ensemble_text *text);
unsigned long ensemble_records(const struct ensemble *e);
unsigned long ensemble_not_number(const struct ensemble *e);
void ensemble_close(struct ensemble *e);

#endif
