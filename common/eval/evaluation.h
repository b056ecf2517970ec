/* Every figure that dir-eval reports of its sets of predictions: what is measured, on which texts,
 * and how sure the value is. */
#ifndef DUQ_EVAL_EVALUATION_H
#define DUQ_EVAL_EVALUATION_H

#include "common/eval/metrics.h"
#include "common/eval/prediction_set.h"

/* An out-of-distribution set, compared with the set of the same model. */
struct ood_set {
    struct prediction_set *set;
    const struct prediction_set *of;
};

struct evaluation_settings {
    struct prediction_set **sets; /* aligned: the same texts in the same order */
    size_t n_sets;
    const struct ood_set *oods;
    size_t n_oods;
    bool members;      /* also the average member of each ensemble */
    size_t bins;       /* of the calibration errors */
    size_t replicates; /* of the bootstrap; 0: no intervals */
    uint64_t seed;
};

struct result {
    char *set;           /* a set's name; "NAME/prompts" for the average member of an ensemble */
    const char *against; /* name of an out-of-distribution set, or NULL */
    char *metric;
    double value;             /* NaN: none */
    double low, high;         /* 95 % interval; NaN: none */
    size_t n;                 /* texts it was measured on */
    char reason[REASON_SIZE]; /* why there is no value */
};

/* Results in order: set by set, then out-of-distribution set by set. The caller frees them with
 * results_free(). */
struct result *evaluate(const struct evaluation_settings *e, size_t *count);
void results_free(struct result *results, size_t count);

/* The scores by which a set's labelled texts are answered or not: minus the uncertainty, positive
 * where the top class is wrong; ranked. NULL when the set has no such uncertainty or no label. */
struct scored *risk_scores(const struct prediction_set *s, enum uncertainty_kind kind, size_t *n);

#endif
