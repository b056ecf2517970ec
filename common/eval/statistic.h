/* One figure to be measured, on any resampling of the texts. */
#ifndef DUQ_EVAL_STATISTIC_H
#define DUQ_EVAL_STATISTIC_H

#include "common/eval/metrics.h"
#include "common/eval/prediction_set.h"

/* What uncertainty is good for: on the set's own texts, and to tell others apart. */
enum selection { AURC, AUGRC, ERROR_AUROC, N_SELECTIONS, RISK_AT_COVERAGE, COVERAGE_AT_RISK };
enum detection { AUROC, AUPR, FPR95, WASSERSTEIN, N_DETECTIONS };

/* Names as in tables and streams; "aurc" ... "risk_at_coverage". */
const char *selection_name(enum selection s);
const char *detection_name(enum detection d);

struct statistic {
    enum { CLASSIFICATION, OF_MEMBERS, MEMBERS_TOTAL, MEAN, SELECTION, DETECTION } kind;
    const struct prediction_set *set, *out; /* out: out of distribution, or NULL */
    enum metric metric;
    enum uncertainty_kind uncertainty;
    enum selection selection;
    double level; /* of RISK_AT_COVERAGE and COVERAGE_AT_RISK */
    enum detection detection;
    struct binning binning;
};

/* Texts drawn: of the sets and of the out-of-distribution set. */
struct draw {
    const size_t *rows, *out_rows;
    size_t n, n_out;
};

/* The value, or NaN, with why there is none in reason [REASON_SIZE] (may be NULL). n: receives the
 * number of texts used. */
double statistic_value(const struct statistic *t, const struct draw *d, char *reason, size_t *n);

/* The scores by which a set's labelled texts are answered or not: minus the uncertainty, positive
 * where the top class is wrong; ranked. NULL when the set has no such uncertainty or no label. */
struct scored *risk_scores(const struct prediction_set *s, enum uncertainty_kind kind, size_t *n);

#endif
