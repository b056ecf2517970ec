#include "common/math/loss.h"

#include "common/math/loss_formulas.h"

#include <math.h>

const struct loss_facts loss_facts[LOSSES] = {
    [LOSS_SOFTMAX] = {"softmax", "softmax", TARGET_PROBS},
    [LOSS_DIRICHLET] = {"dirichlet", "dirichlet", TARGET_MEMBERS},
    [LOSS_LABELS] = {"labels", "softmax", TARGET_LABEL},
    [LOSS_EDL] = {"edl", "dirichlet", TARGET_LABEL},
    [LOSS_IB_EDL] = {"ib-edl", "dirichlet", TARGET_LABEL},
};

void target_from_probs(const double *probs, size_t n, double *target)
{
    for (size_t c = 0; c < n; c++)
        target[c] = probs[c];
}

void target_from_label(int label, size_t n, double *target)
{
    for (size_t c = 0; c < n; c++)
        target[c] = (int)c == label;
}

void target_from_members(const double *members, const double *weights, size_t n_members, size_t n,
                         double *target)
{
    for (size_t c = 0; c < n; c++) {
        target[c] = 0;
        for (size_t m = 0; m < n_members; m++)
            target[c] += weights[m] * log(members[m * n + c] + LOSS_LOG_FLOOR);
    }
}

void softmax_probs(const double *logits, size_t n, double *probs)
{
    double norm = log_sum_exp(logits, n);
    for (size_t c = 0; c < n; c++)
        probs[c] = exp(logits[c] - norm);
}

void dirichlet_alpha(const struct loss *loss, const double *logits, size_t n, double *alpha)
{
    double a0 = raw_alpha(logits, n, alpha);
    if (loss->mode == ALPHA0_FIXED)
        for (size_t c = 0; c < n; c++)
            alpha[c] *= loss->alpha0 / a0;
}

/* E softplus(mean + std e), e from N(0, 1), by the trapezoidal rule. The integrand is analytic
 * within pi / std of the real axis: the error falls as exp(-2 pi^2 / (step std)). */
static double mean_softplus(double mean, double std)
{
    enum { STEPS = 900 };
    const double step = 0.01;
    double sum = 0, mass = 0;
    for (int i = -STEPS; i <= STEPS; i++) {
        double e = i * step, density = exp(-0.5 * e * e);
        sum += density * softplus(mean + std * e);
        mass += density;
    }
    return sum / mass;
}

void ib_edl_alpha(const double *logits, size_t n, double *alpha)
{
    for (size_t c = 0; c < n; c++)
        alpha[c] = 1 + mean_softplus(logits[c], softplus(logits[n + c]));
}

double loss_value(const struct loss *loss, const double *logits, const double *target, size_t n,
                  double s, double *gradient, double *gradient_s)
{
    return loss_formula(loss, logits, target, n, s, gradient, gradient_s);
}
