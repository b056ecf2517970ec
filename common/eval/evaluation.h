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

/* Numbers from 0 to 1 at which something is measured. */
struct levels {
    double *values;
    size_t n;
};

struct evaluation_settings {
    struct prediction_set **sets; /* aligned: the same texts in the same order */
    size_t n_sets;
    const struct ood_set *oods;
    size_t n_oods;
    bool members; /* also the average member of each ensemble */
    struct binning binning;
    enum definitions definitions;
    struct levels at_coverages, at_risks;
    const char *baseline; /* what the other sets' differences are taken from, or NULL */
    size_t replicates;    /* of the bootstrap; 0: no intervals */
    uint64_t seed;
};

struct result {
    char *set; /* a set's name, or what sets of several seeds share; "NAME/prompts" for the
                * average member of an ensemble */
    const char *against; /* name of an out-of-distribution set or, of a difference, of the set that
                          * was subtracted; or NULL */
    char *metric;
    bool difference;
    double value;             /* NaN: none; the mean over seeds */
    double low, high;         /* 95 % interval; NaN: none */
    double p;                 /* of a difference, two-sided; NaN: none */
    double deviation;         /* standard deviation over seeds (n - 1); NaN: none */
    size_t seeds;             /* 0: a set of one seed */
    size_t n;                 /* texts it was measured on */
    char *definition;         /* bins and norm of a calibration error, or NULL */
    char reason[REASON_SIZE]; /* why there is no value */
};

/* Results in order: set by set, out-of-distribution set by set, the same of the means over seeds,
 * differences. The caller frees them with results_free(). */
struct result *evaluate(const struct evaluation_settings *e, size_t *count);
void results_free(struct result *results, size_t count);

#endif
