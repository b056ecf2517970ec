/* The evidential loss of common/math/loss.h by the alphas, for the host and for device code. */
#ifndef DUQ_MATH_EVIDENTIAL_FORMULAS_H
#define DUQ_MATH_EVIDENTIAL_FORMULAS_H

#include "common/math/loss.h"
#include "common/math/special.h"
#include "common/util/everywhere.h"

/* What the derivatives by all alphas have in common. */
struct evidential_sums {
    double a0;
    double squares, hits;      /* sum_c p_c^2, sum_c y_c p_c */
    double y;                  /* sum_c y_c */
    double psi1_a0;            /* psi'(a0), of EDL_DIGAMMA */
    double excess, psi1_tilde; /* sum_c (t_c - 1) and psi' of sum_c t_c; of the KL */
};

EVERYWHERE struct evidential_sums evidential_sums(const double *alpha, const double *y, size_t n)
{
    struct evidential_sums s = {0, 0, 0, 0, 0, 0, 0};
    for (size_t c = 0; c < n; c++) {
        s.a0 += alpha[c];
        s.y += y[c];
        s.excess += (1 - y[c]) * (alpha[c] - 1);
    }
    for (size_t c = 0; c < n; c++) {
        double p = alpha[c] / s.a0;
        s.squares += p * p;
        s.hits += y[c] * p;
    }
    s.psi1_a0 = trigamma(s.a0);
    s.psi1_tilde = trigamma((double)n + s.excess);
    return s;
}

/* The label's Bayes risk. */
EVERYWHERE double evidential_risk(enum edl_form form, const struct evidential_sums *s,
                                  const double *alpha, const double *y, size_t n)
{
    double value = 0;
    for (size_t c = 0; c < n; c++) {
        double p = alpha[c] / s->a0;
        if (form == EDL_MSE)
            value += (y[c] - p) * (y[c] - p) + p * (1 - p) / (s->a0 + 1);
        else if (form == EDL_LOG)
            value -= y[c] * log(p);
        else
            value += y[c] * (digamma(s->a0) - digamma(alpha[c]));
    }
    return value;
}

/* Its derivative by an alpha of p = alpha / a0 and target y. */
EVERYWHERE double evidential_risk_slope(enum edl_form form, const struct evidential_sums *s,
                                        double alpha, double y)
{
    double p = alpha / s->a0, more = s->a0 + 1;
    if (form == EDL_LOG)
        return s->y / s->a0 - y / alpha;
    if (form == EDL_DIGAMMA)
        return s->y * s->psi1_a0 - y * trigamma(alpha);
    double by_error = 2 / s->a0 * (p - y - s->squares + s->hits);
    double by_variance = -2 / s->a0 * (p - s->squares) / more - (1 - s->squares) / (more * more);
    return by_error + by_variance;
}

/* KL(Dir(t) || Dir(1)), t_c = y_c + (1 - y_c) alpha_c. */
EVERYWHERE double misleading_evidence(const struct evidential_sums *s, const double *alpha,
                                      const double *y, size_t n)
{
    double t0 = (double)n + s->excess, psi0 = digamma(t0);
    double value = log_gamma(t0) - log_gamma((double)n);
    for (size_t c = 0; c < n; c++) {
        double excess = (1 - y[c]) * (alpha[c] - 1), t = 1 + excess;
        value += excess * (digamma(t) - psi0) - log_gamma(t);
    }
    return value;
}

/* Its derivative by an alpha of target y. */
EVERYWHERE double misleading_evidence_slope(const struct evidential_sums *s, double alpha, double y)
{
    double excess = (1 - y) * (alpha - 1);
    return (1 - y) * (excess * trigamma(1 + excess) - s->excess * s->psi1_tilde);
}

#endif
