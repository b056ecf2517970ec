/* The losses of common/math/loss.h written out, for the host and for device code. */
#ifndef DUQ_MATH_LOSS_FORMULAS_H
#define DUQ_MATH_LOSS_FORMULAS_H

#include "common/math/evidential_formulas.h"
#include "common/math/loss.h"
#include "common/math/special.h"
#include "common/util/everywhere.h"

#include <math.h>

EVERYWHERE double softplus(double x)
{
    return fmax(x, 0.0) + log1p(exp(-fabs(x)));
}

EVERYWHERE double sigmoid(double x)
{
    double e = exp(-fabs(x));
    return (x < 0 ? e : 1) / (1 + e);
}

/* log sum exp, safe for logits of any size */
EVERYWHERE double log_sum_exp(const double *x, size_t n)
{
    double top = -INFINITY, sum = 0;
    for (size_t c = 0; c < n; c++)
        top = fmax(top, x[c]);
    for (size_t c = 0; c < n; c++)
        sum += exp(x[c] - top);
    /* n is never 0, so the sum is at least the top's own exp(0). */
    /* cppcheck-suppress invalidFunctionArg */
    return top + log(sum);
}

/* alpha before any scaling; returns its sum */
EVERYWHERE double raw_alpha(const double *logits, size_t n, double *alpha)
{
    double a0 = 0;
    for (size_t c = 0; c < n; c++) {
        alpha[c] = 1 + softplus(logits[c]);
        a0 += alpha[c];
    }
    return a0;
}

/* sum_c t_c (log t_c - log q_c), q the softmax; a one-hot t makes it the cross-entropy */
EVERYWHERE double softmax_divergence(const double *logits, const double *target, size_t n,
                                     double *gradient)
{
    double norm = log_sum_exp(logits, n), value = 0, mass = 0;
    for (size_t c = 0; c < n; c++) {
        mass += target[c];
        if (target[c] > 0)
            value += target[c] * (log(target[c]) - (logits[c] - norm));
    }
    for (size_t c = 0; c < n; c++)
        gradient[c] = mass * exp(logits[c] - norm) - target[c];
    return value;
}

EVERYWHERE double dirichlet_loss(const struct loss *loss, const double *logits,
                                 const double *target, size_t n, double s, double *gradient,
                                 double *gradient_s)
{
    double *alpha = gradient; /* each element is read before its gradient replaces it */
    double a0 = raw_alpha(logits, n, alpha), scale = 1;
    if (loss->mode == ALPHA0_FIXED)
        scale = loss->alpha0 / a0;

    double b0 = scale * a0, psi0 = digamma(b0), value = -log_gamma(b0), along = 0;
    for (size_t c = 0; c < n; c++) {
        double b = scale * alpha[c];
        value += log_gamma(b) - (b - 1) * target[c];
        along += (digamma(b) - psi0 - target[c]) * alpha[c];
    }
    /* The scaled alphas keep their sum: only the part of the gradient across it remains. */
    along = loss->mode == ALPHA0_FIXED ? along / a0 : 0;

    double pull = 0;
    if (loss->mode == ALPHA0_LEARNED) {
        double off = a0 - exp(s);
        value += loss->beta * off * off;
        pull = 2 * loss->beta * off;
        *gradient_s = -pull * exp(s);
    }
    for (size_t c = 0; c < n; c++) {
        double by_alpha = scale * (digamma(scale * alpha[c]) - psi0 - target[c] - along) + pull;
        gradient[c] = by_alpha * sigmoid(logits[c]);
    }
    return value;
}

EVERYWHERE double edl_loss(const struct loss *loss, const double *logits, const double *target,
                           size_t n, double *gradient)
{
    double *alpha = gradient; /* each element is read before its gradient replaces it */
    raw_alpha(logits, n, alpha);
    struct evidential_sums s = evidential_sums(alpha, target, n);
    double value = evidential_risk(loss->form, &s, alpha, target, n), weight = loss->kl_weight;
    if (weight > 0)
        value += weight * misleading_evidence(&s, alpha, target, n);
    for (size_t c = 0; c < n; c++) {
        double by_alpha = evidential_risk_slope(loss->form, &s, alpha[c], target[c]);
        if (weight > 0)
            by_alpha += weight * misleading_evidence_slope(&s, alpha[c], target[c]);
        gradient[c] = by_alpha * sigmoid(logits[c]);
    }
    return value;
}

/* The part of one draw e, [n], of the pre-evidence. Adds to the gradient by the means and, as if
 * they were logits, by the deviations. */
EVERYWHERE double ib_edl_draw(const double *logits, const double *y, const double *e, size_t n,
                              int samples, double *gradient)
{
    struct evidential_sums s = {0, 0, 0, 1, 0, 0, 0};
    double value = 0;
    for (size_t c = 0; c < n; c++) {
        double alpha = 1 + softplus(logits[c] + softplus(logits[n + c]) * e[c]);
        s.a0 += alpha;
        s.squares += alpha * alpha;
        s.hits += y[c] * alpha;
    }
    s.squares /= s.a0 * s.a0;
    s.hits /= s.a0;
    for (size_t c = 0; c < n; c++) {
        double evidence = logits[c] + softplus(logits[n + c]) * e[c];
        double alpha = 1 + softplus(evidence), p = alpha / s.a0;
        value += (y[c] - p) * (y[c] - p) + p * (1 - p) / (s.a0 + 1);
        double slope = evidential_risk_slope(EDL_MSE, &s, alpha, y[c]) * sigmoid(evidence);
        gradient[c] += slope / samples;
        gradient[n + c] += slope * e[c] / samples;
    }
    return value / samples;
}

EVERYWHERE double ib_edl_loss(const struct loss *loss, const double *logits, const double *target,
                              size_t n, double *gradient)
{
    double value = 0, beta = loss->ib_beta;
    for (size_t i = 0; i < 2 * n; i++)
        gradient[i] = 0;
    for (int i = 1; i <= loss->samples; i++)
        value += ib_edl_draw(logits, target, target + (size_t)i * n, n, loss->samples, gradient);
    for (size_t c = 0; c < n; c++) {
        double mean = logits[c], raw = logits[n + c], std = softplus(raw);
        /* Far below 0 softplus(r) is exp(r), which may be too small for a double. */
        double log_std = raw < -40 ? raw : log(std),
               by_log_std = raw < -40 ? 1 : sigmoid(raw) / std;
        value += 0.5 * beta * (mean * mean + std * std - 2 * log_std - 1);
        gradient[c] += beta * mean;
        gradient[n + c] = (gradient[n + c] + beta * std) * sigmoid(raw) - beta * by_log_std;
    }
    return value;
}

/* What loss_value() gives. */
EVERYWHERE double loss_formula(const struct loss *loss, const double *logits, const double *target,
                               size_t n, double s, double *gradient, double *gradient_s)
{
    *gradient_s = 0;
    switch (loss->kind) { /* the compiler warns where one is missing */
    case LOSS_DIRICHLET:
        return dirichlet_loss(loss, logits, target, n, s, gradient, gradient_s);
    case LOSS_SOFTMAX:
    case LOSS_LABELS:
        return softmax_divergence(logits, target, n, gradient);
    case LOSS_EDL:
        return edl_loss(loss, logits, target, n, gradient);
    case LOSS_IB_EDL:
        return ib_edl_loss(loss, logits, target, n, gradient);
    case LOSSES:
        break;
    }
    return NAN;
}

#endif
