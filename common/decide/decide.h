/* What a rule says of one prediction. */
#ifndef DUQ_DECIDE_DECIDE_H
#define DUQ_DECIDE_DECIDE_H

#include "common/decide/rule.h"

/* The prediction as a rule sees it: with another temperature than 1 its probabilities are tempered
 * into room ([n_classes]) and its total uncertainty is their entropy; the others are then NaN. */
struct prediction tempered_prediction(const struct prediction *p, double temperature, double *room);

/* The uncertainty that is limited; NaN where the prediction does not have it. */
double prediction_uncertainty(const struct prediction *p, enum certainty by);

/* p: as tempered_prediction() gives it, with the uncertainty that the rule wants. set: [n_classes],
 * room for a set rule's. A set rule answers where the set has one class. */
struct decision decide(const struct rule *rule, const struct prediction *p, int32_t *set);

#endif
