/* Answering only what one is sure of: the risk (share of wrong answers) of the texts whose
 * uncertainty is at most a threshold, and the coverage (share of texts) that are answered then. */
#ifndef DUQ_EVAL_RISK_H
#define DUQ_EVAL_RISK_H

#include "common/eval/ranking.h"

/* At one distinct uncertainty: all texts with it or less are answered. */
struct risk_point {
    double threshold;
    size_t answered, wrong;
};

/* s: score = minus the uncertainty, positive = a wrong answer, in rank_scores()'s order. Returns
 * the points from the most certain on; the caller frees them. */
struct risk_point *risk_curve(const struct scored *s, size_t n, size_t *count);

/* Area under the risk-coverage curve: the mean over k = 1 .. n of the risk of the k most certain
 * texts. Among equally uncertain texts, the mean over all their orders. NaN for n = 0. */
double risk_area(const struct scored *s, size_t n);

/* Area under the generalised risk-coverage curve (Traub et al. 2024, arXiv 2407.01032): over the
 * coverage, the share of all texts that are answered and wrong; by trapezoids between the distinct
 * uncertainties, from no coverage on. From 0 to 1/2. NaN for n = 0. */
double generalised_risk_area(const struct scored *s, size_t n);

/* The largest coverage at which the risk is at most this, 0 where no point has so low a risk. */
double coverage_at_risk(const struct risk_point *curve, size_t count, double risk);

/* The first point that covers at least this share of all texts. */
const struct risk_point *risk_at_coverage(const struct risk_point *curve, size_t count,
                                          double coverage);

#endif
