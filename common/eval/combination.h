/* Results made of measured ones: means over the seeds of a set, and differences from a baseline. */
#ifndef DUQ_EVAL_COMBINATION_H
#define DUQ_EVAL_COMBINATION_H

#include "common/eval/evaluation.h"
#include "common/eval/statistic.h"

/* The mean of some results, less the mean of some others. */
struct combination {
    size_t *plus, *minus; /* numbers of measured results */
    size_t n_plus, n_minus;
};

struct results {
    struct result *list;
    size_t count;
};

struct combinations {
    struct combination *list; /* of those results that follow the measured ones */
    size_t count;
};

/* Adds to results, measured one for each of statistics, the means over seeds, where sets have
 * several, and with a baseline (may be NULL) the differences from it. The caller frees it. */
struct combinations combine(struct results *results, const struct statistic *statistics,
                            const char *baseline);
void combinations_free(struct combinations *c);

/* values: by number of a measured result. NaN where one of them is. */
double combination_value(const struct combination *c, const double *values);

/* Two-sided p value of a difference whose bootstrap replicates are values: twice the share of the
 * replicates on the rarer side of 0, 0 itself on both, with one more replicate there (Davison and
 * Hinkley 1997, 4.2); at most 1. NaNs are left out; NaN where they are more than half. */
double sign_p_value(const double *values, size_t n);

#endif
