#include "common/math/dirichlet.h"

#include "common/math/special.h"

#include <math.h>

double entropy(const double *probs, size_t n)
{
    double h = 0;
    for (size_t c = 0; c < n; c++)
        if (probs[c] > 0)
            h -= probs[c] * log(probs[c]);
    return fmax(h, 0); /* a probability may be above 1 by rounding */
}

/* Rounding may leave the difference of two nearly equal entropies just below zero, which Jensen's
 * inequality rules out. */
static struct uncertainty split(double total, double aleatoric)
{
    return (struct uncertainty){total, aleatoric, fmax(total - aleatoric, 0)};
}

static double sum(const double *values, size_t n)
{
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += values[i];
    return total;
}

double dirichlet_vacuity(const double *alpha, size_t n)
{
    return (double)n / sum(alpha, n);
}

/* Differential entropy in nats of the Gamma distribution of this shape and scale 1,
 * a + ln Gamma(a) + (1 - a) psi(a). For large a, where its terms are large and their sum is not,
 * from their asymptotic series (Abramowitz and Stegun 6.1.40, 6.3.18), in which they cancel. */
static double gamma_entropy(double a)
{
    static const double bernoulli[] = {1. / 6, -1. / 30, 1. / 42, -1. / 30, 5. / 66, -691. / 2730};
    static const double HALF_LOG_TWO_PI_E = 1.4189385332046727;
    if (a < ASYMPTOTIC_FROM)
        return a + log_gamma(a) + (1 - a) * digamma(a);
    double t = 1 / a, power = t, series = -t / 2;
    for (int k = 1; k <= 6; k++, power *= t * t)
        series += bernoulli[k - 1] * (1. / (2 * k - 1) - t / (2 * k)) * power;
    return log(a) / 2 + HALF_LOG_TWO_PI_E + series;
}

double dirichlet_entropy(const double *alpha, size_t n)
{
    double a0 = sum(alpha, n), h = -gamma_entropy(a0) - (double)(n - 1) * digamma(a0);
    for (size_t c = 0; c < n; c++)
        h += gamma_entropy(alpha[c]);
    return h;
}

double dirichlet_pairwise_kl(const double *alpha, size_t n)
{
    return (double)(n - 1) / sum(alpha, n);
}

struct uncertainty dirichlet_uncertainty(const double *alpha, size_t n, double *probs)
{
    double a0 = sum(alpha, n);
    double psi0 = digamma(a0 + 1), aleatoric = 0;
    for (size_t c = 0; c < n; c++) {
        probs[c] = alpha[c] / a0;
        aleatoric += probs[c] * (psi0 - digamma(alpha[c] + 1));
    }
    return split(entropy(probs, n), aleatoric);
}

struct uncertainty ensemble_uncertainty(const double *members, const double *weights,
                                        size_t n_members, size_t n, double *probs)
{
    double aleatoric = 0;
    for (size_t c = 0; c < n; c++)
        probs[c] = 0;
    for (size_t m = 0; m < n_members; m++) {
        const double *p = members + m * n;
        for (size_t c = 0; c < n; c++)
            probs[c] += weights[m] * p[c];
        aleatoric += weights[m] * entropy(p, n);
    }
    return split(entropy(probs, n), aleatoric);
}
