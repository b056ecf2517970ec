/* Cross-validation: folds of a validation set, and the strength of the calibrations' penalty. */
#ifndef DUQ_UQ_CROSS_VALIDATION_H
#define DUQ_UQ_CROSS_VALIDATION_H

#include "common/uq/calibration.h"

struct folds {
    size_t count; /* 5, or the number of texts where there are fewer; below 2 there is no fold */
    size_t *of;   /* [n_texts], the fold of each */
};

/* Stratified: texts, ordered by class and within a class as in v, go to the folds in turn. */
struct folds folds_make(const struct validation *v);
void folds_free(struct folds *f);
/* v's texts within a fold, or all others (inside false). */
struct validation folds_part(const struct validation *v, const struct folds *f, size_t fold,
                             bool inside);

enum { N_STRENGTHS = 13 };

struct strength_choice {
    double strength;
    size_t folds;            /* 0: too few texts; the strongest is taken */
    double nll[N_STRENGTHS]; /* mean over texts left out and prompts, nats; NaN where folds is 0 */
};

/* The i-th strength of the grid: 10^(i / 2 - 4), 0.0001 to 100. */
double strength_at(size_t i);

/* The strength for which the calibrated and smoothed probabilities of labels in texts left out are
 * best: the lowest mean negative logarithm, of equal ones the strongest penalty. One strength for
 * all prompts: a prompt's own curve is too noisy for a choice from some hundred texts, and equal
 * prompts stay equal. */
struct strength_choice choose_strength(const struct validation *v, enum calibration_kind kind);

#endif
