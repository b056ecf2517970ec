#include "common/decide/decide.h"

#include "common/decide/temperature.h"
#include "common/eval/metrics.h"
#include "common/math/dirichlet.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>

struct prediction tempered_prediction(const struct prediction *p, double temperature, double *room)
{
    struct prediction seen = *p;
    if (temperature == 1)
        return seen;
    temper(p->probs, p->n_classes, temperature, room);
    seen.probs = room;
    seen.alpha = seen.members = seen.mean_log = NULL;
    seen.n_members = 0;
    seen.total = entropy(room, p->n_classes);
    seen.aleatoric = seen.epistemic = NAN;
    return seen;
}

/* 1 - (the highest - the second highest); with one class the second is 0. */
static double margin_lacking(const double *probs, size_t n)
{
    size_t top = predicted_class(probs, n);
    double second = 0;
    for (size_t c = 0; c < n; c++)
        if (c != top)
            second = fmax(second, probs[c]);
    return 1 - (probs[top] - second);
}

double prediction_uncertainty(const struct prediction *p, enum certainty by)
{
    switch (by) {
    case BY_TOTAL:
        return p->total;
    case BY_ALEATORIC:
        return p->aleatoric;
    case BY_EPISTEMIC:
        return p->epistemic;
    case BY_MARGIN:
        return margin_lacking(p->probs, p->n_classes);
    default:
        return 1 - p->probs[predicted_class(p->probs, p->n_classes)];
    }
}

static bool takes(const struct rule_limit *l, double score)
{
    switch (l->take) {
    case TAKE_BELOW:
        return score < l->threshold;
    case TAKE_AT_MOST:
        return score <= l->threshold;
    default:
        return l->take == TAKE_ALL;
    }
}

static struct decision decide_by_uncertainty(const struct rule *rule, const struct prediction *p)
{
    const struct rule_limit *l = rule->limits;
    struct decision d = {.id = p->id, .label = p->label, .answer = NO_LABEL};
    d.score = prediction_uncertainty(p, rule->by);
    bool answers = takes(l, d.score);
    if (answers)
        d.answer = (int)predicted_class(p->probs, p->n_classes);
    if (l->take == TAKE_BELOW)
        d.reason = answers ? "certain" : "uncertain";
    else
        d.reason = answers ? "always" : "never";
    return d;
}

static struct decision decide_by_set(const struct rule *rule, const struct prediction *p,
                                     int32_t *set)
{
    struct decision d = {
        .id = p->id, .label = p->label, .answer = NO_LABEL, .has_set = true, .set = set};
    double *scores = xreallocarray(NULL, p->n_classes, sizeof *scores);
    set_scores(rule->score, p->probs, p->n_classes, scores);
    for (size_t c = 0; c < p->n_classes; c++)
        if (takes(&rule->limits[rule->limits->label == NO_LABEL ? 0 : c], scores[c]))
            set[d.n_set++] = (int32_t)c;
    d.score = scores[predicted_class(p->probs, p->n_classes)];
    if (d.n_set == 1)
        d.answer = set[0];
    d.reason = d.n_set == 1 ? "single" : d.n_set ? "several" : "empty";
    free(scores);
    return d;
}

struct decision decide(const struct rule *rule, const struct prediction *p, int32_t *set)
{
    return rule->kind == RULE_SET ? decide_by_set(rule, p, set) : decide_by_uncertainty(rule, p);
}
