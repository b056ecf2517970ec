/* The lower tail of a binomial distribution. */
#ifndef DUQ_MATH_BINOMIAL_H
#define DUQ_MATH_BINOMIAL_H

#include <stddef.h>

/* P(X <= k) for X ~ Binomial(n, p): the chance of at most k errors in n texts that are wrong with
 * probability p each. Within 1e-12 (relative) for n to a million, far tails included. p outside
 * [0, 1] and NaN give NaN.
 *
 * The term at the tail's end by Loader's saddle point ("Fast and Accurate Computation of Binomial
 * Probabilities", 2000), the others by their ratios to it, the largest first: no incomplete beta
 * function, whose continued fraction loses digits where n is large. */
double binomial_at_most(size_t k, size_t n, double p);

#endif
