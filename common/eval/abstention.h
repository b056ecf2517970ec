/* What comes of answering only the more certain texts, at a fixed list of coverages. */
#ifndef DUQ_EVAL_ABSTENTION_H
#define DUQ_EVAL_ABSTENTION_H

#include "common/eval/prediction_set.h"
#include "common/eval/risk.h"

enum { N_COVERAGES = 7 };
extern const double abstention_coverages[N_COVERAGES];

/* Fills points [N_COVERAGES]; returns the number of texts, 0 when there is nothing to tell. */
size_t abstain(const struct prediction_set *s, enum uncertainty_kind by, struct risk_point *points);

double risk_of(const struct risk_point *p);

#endif
