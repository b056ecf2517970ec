/* What calibration, weights and selection do to texts that they were not fitted to, by
 * cross-validation on the validation set. */
#ifndef DUQ_UQ_HELD_OUT_H
#define DUQ_UQ_HELD_OUT_H

#include "common/uq/ensemble_fit.h"

#include <stdio.h>

struct held_out_row {
    const char *ensemble;
    double nll, accuracy; /* means over all texts, each left out once; nats */
};

struct held_out {
    size_t folds, n_texts, n_rows;
    struct held_out_row rows[5];
};

/* For each fold everything is fitted anew to the others' texts (the strength by folds of these,
 * the calibrations, the selection, the weights), and measured on the fold's. The rows: "prompt",
 * the mean of the prompts, each by itself; "uniform", "weighted", ensembles that are not
 * calibrated; "calibrated", with weights, where s calibrates; "top", all that s says, where s
 * selects. v must have two texts at least. */
struct held_out held_out_measure(const struct validation *v, const struct ensemble_settings *s);

void held_out_table(const struct held_out *h, FILE *out);

#endif
