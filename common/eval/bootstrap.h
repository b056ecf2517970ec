/* Resampling of texts, the same on every machine and for every number of threads. */
#ifndef DUQ_EVAL_BOOTSTRAP_H
#define DUQ_EVAL_BOOTSTRAP_H

#include <stddef.h>
#include <stdint.h>

/* n row numbers below n, drawn with replacement; those of another replicate or sample (one of the
 * sets drawn from in a replicate) are independent. The caller frees them. */
size_t *draw_rows(size_t n, uint64_t seed, size_t replicate, uint32_t sample);
/* The central interval of the values that are not NaN (sorts them), by linear interpolation between
 * order statistics as numpy's quantile does; NaN when more than half of them are NaN. */
void percentile_interval(double *values, size_t n, double level, double *low, double *high);

#endif
