/* The labelled scores of a validation set: what the ensemble is fitted to. */
#ifndef DUQ_UQ_VALIDATION_H
#define DUQ_UQ_VALIDATION_H

#include "common/stream/record.h"
#include "common/uq/class_probabilities.h"

struct validation {
    size_t n_texts, n_prompts, n_classes;
    float *logits;            /* [n_texts * n_prompts * n_classes] */
    int *labels;              /* [n_texts] */
    char **ids;               /* [n_texts]; NULL in a part of a set */
    unsigned long records;    /* read */
    unsigned long not_number; /* records whose logits give no probabilities */
};

/* Reads all of r; texts are in the order in which their ids first appeared. The prompts are those
 * that the header announces, or, when it does not say, 0 to the highest seen. Dies with
 * EX_DATAERR, naming id and prompt: a label missing or not the same for every prompt of a text, a
 * score missing or there twice, other numbers of classes. labelled false: texts need no labels. */
struct validation validation_read(struct stream_reader *r, bool labelled);
void validation_free(struct validation *v);

/* Puts the texts in the order of their ids' bytes: what is then computed does not depend on the
 * order of the records, not even in its last bit. */
void validation_sort(struct validation *v);

/* Its texts n with chosen[n] (NULL: all) and its prompts prompts[0 ... n_prompts - 1] (NULL: the
 * first n_prompts), in these orders, as a set of its own. */
struct validation validation_part(const struct validation *v, const bool *chosen,
                                  const size_t *prompts, size_t n_prompts);

/* The logits of one text under one prompt: [n_classes]. */
const float *validation_logits(const struct validation *v, size_t text, size_t prompt);

/* Each prompt's probability of each text's label, [n_texts * n_prompts], the caller's. Calibrated
 * by calibrations, [n_prompts], or as they are (NULL). */
double *label_probabilities(const struct validation *v, const struct calibration *calibrations);

/* Refuses a record whose label is not that of the text's first one. */
void validation_check_label(struct stream_reader *r, const struct scores *s, int first);

#endif
