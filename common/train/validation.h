/* Validation: how good a student is, while it trains, on texts that it does not learn from. */
#ifndef DUQ_TRAIN_VALIDATION_H
#define DUQ_TRAIN_VALIDATION_H

#include "common/model/lora.h"
#include "common/train/training_set.h"

/* Figures of a student. */
struct validation {
    unsigned long step; /* optimizer steps that it has taken; 0: not measured */
    double loss;        /* the examples' mean, by their weights; NaN where one's is not finite */
    int bad_example;    /* the first of these, or -1 */
    double nll, accuracy, ece; /* of the examples that have a label; NaN where none has */
};

/* What measures it. Its user sets `measure`, which needs more than this folder may include. */
struct validator {
    const struct training_set *set;
    void *state;
    /* All ranks call it together, and all get the same figures. lora: the student's, without
     * dropout; s: its learned ln a0. step is left 0. */
    struct validation (*measure)(struct validator *v, struct lora_set *lora, double s);
};

/* An object of step and figures, those that are numbers; and back, false where it is no such. */
json_t *validation_json(const struct validation *v);
bool validation_from_json(const json_t *object, struct validation *v);

/* Dies (EX_DATAERR) where the sets have an id or a sequence of tokens in common, naming both, or
 * differ in classes, answers or layout. file: the validation set's name. */
void check_held_out(const struct training_set *training, const struct training_set *validation,
                    const char *file);

#endif
