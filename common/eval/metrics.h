/* How good class probabilities are, given the labels. man/dir-eval.1 gives each definition, and the
 * programs it is tested against. */
#ifndef DUQ_EVAL_METRICS_H
#define DUQ_EVAL_METRICS_H

#include "common/eval/calibration.h"

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
    METRIC_ECE_EQUAL_MASS,
    METRIC_ECE_CLASS_WISE,
    METRIC_SMECE,
    /* Those of DEFINITIONS_REFERENCE alone. */
    METRIC_REFERENCE_MCE,
    METRIC_REFERENCE_BRIER,
    N_METRICS,
};

/* Whose MCE and Brier score: the literature's, or those of the published code (amzn/BayesPE,
 * evaluation.py), which are other figures and have other names. */
enum definitions { DEFINITIONS_LITERATURE, DEFINITIONS_REFERENCE };

enum { REASON_SIZE = 96 };

/* Whether it is one of these definitions', and the metric that stands in its place. */
bool metric_is_of(enum metric m, enum definitions d);
enum metric metric_as(enum metric m, enum definitions d);

/* Names as in tables and streams: "accuracy", "macro_f1" ... */
const char *metric_name(enum metric m);

/* What a calibration error was computed with: "l1 norm, 10 bins ..."; NULL for other metrics. The
 * caller frees it. */
char *metric_definition(enum metric m, struct binning b);

/* The value, or NaN, with why there is none in reason [REASON_SIZE] (may be NULL). */
double metric_value(enum metric m, const struct sample *s, struct binning b, char *reason);

/* The most probable class, the first of several. */
size_t predicted_class(const double *probs, size_t n_classes);

/* The claims that the predicted class is right; [n], the caller frees them. */
struct scored *top_claims(const struct sample *s);

#endif
