/* How good class probabilities are, given the labels. man/dir-eval.1 gives each definition; they
 * are those of scikit-learn and torchmetrics, and tested against them. */
#ifndef DUQ_EVAL_METRICS_H
#define DUQ_EVAL_METRICS_H

#include <stddef.h>

/* Some rows of a set of predictions, perhaps repeated (a bootstrap replicate). */
struct sample {
    const double *probs; /* [any * n_classes]: whole rows of finite numbers from 0 to 1, sum 1 */
    size_t n_classes, stride; /* stride: from one row's start to the next one's */
    const int *labels;        /* [any], below n_classes */
    const size_t *rows;       /* [n] */
    size_t n;
};

enum metric {
    METRIC_ACCURACY,
    METRIC_MACRO_F1,
    METRIC_NLL,
    METRIC_ECE,
    METRIC_MCE,
    METRIC_BRIER,
    METRIC_ROC_AUC,
    N_METRICS,
};

enum { REASON_SIZE = 96 };

/* Names as in tables and streams: "accuracy", "macro_f1" ... */
const char *metric_name(enum metric m);

/* The value, or NaN, with why there is none in reason [REASON_SIZE] (may be NULL). bins: of the
 * calibration errors. */
double metric_value(enum metric m, const struct sample *s, size_t bins, char *reason);

/* The most probable class, the first of several. */
size_t predicted_class(const double *probs, size_t n_classes);

/* One bin of the top label's confidence. */
struct bin {
    double low, high;            /* low <= confidence < high; the last bin is confidence 1 alone */
    size_t count;                /* of texts */
    double accuracy, confidence; /* means; 0 for an empty bin */
};

/* bins + 1 bins; the caller frees them. */
struct bin *reliability_bins(const struct sample *s, size_t bins);

#endif
