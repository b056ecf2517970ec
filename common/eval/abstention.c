#include "common/eval/abstention.h"

#include "common/eval/statistic.h"

#include <stdlib.h>

const double abstention_coverages[N_COVERAGES] = {1, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5};

size_t abstain(const struct prediction_set *s, enum uncertainty_kind by, struct risk_point *points)
{
    size_t n, count;
    struct scored *scored = risk_scores(s, by, &n);
    if (!scored)
        return 0;
    struct risk_point *curve = risk_curve(scored, n, &count);
    for (int i = 0; i < N_COVERAGES; i++)
        points[i] = *risk_at_coverage(curve, count, abstention_coverages[i]);
    free(curve);
    free(scored);
    return n;
}

double risk_of(const struct risk_point *p)
{
    return (double)p->wrong / (double)p->answered;
}
