/* The gamma function's logarithm and its first two derivatives, for x > 0, in double precision.
 * Within 1e-12 (absolute, or relative where the value is above 1) over the whole positive range;
 * x = 0 gives the limit (an infinity), x < 0 and NaN give NaN. Safe to call from threads. */
#ifndef DUQ_UQ_SPECIAL_H
#define DUQ_UQ_SPECIAL_H

/* ln Gamma(x) */
double log_gamma(double x);
/* psi(x) = d/dx ln Gamma(x) */
double digamma(double x);
/* psi'(x) = d2/dx2 ln Gamma(x) */
double trigamma(double x);

#endif
