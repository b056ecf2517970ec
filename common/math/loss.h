/* The losses a student is trained with, and their gradients by the class logits; double precision.
 *
 * softmax    KL(teacher || softmax(logits)), the teacher's mixture probabilities
 * labels     cross-entropy of softmax(logits) with the labels
 * dirichlet  alpha_c = 1 + softplus(logit_c), a0 = sum alpha_c;
 *            -[ln G(a0) - sum_c ln G(alpha_c) + sum_m w_m sum_c (alpha_c - 1) log p_mc],
 *            the negative log density of the teacher's members p_m, weighted by their w_m
 *            (arXiv 2507.18366). ALPHA0_FIXED scales alpha to a given a0 first; ALPHA0_LEARNED adds
 *            beta (a0 - e^s)^2 with s learned.
 * edl        evidential deep learning on labels (Sensoy, Kaplan & Kandemir 2018, arXiv 1806.01768):
 *            alpha as above, p_c = alpha_c / a0, y one-hot; the label's Bayes risk
 *            EDL_MSE, eq. 5      sum_c (y_c - p_c)^2 + p_c (1 - p_c) / (a0 + 1)
 *            EDL_LOG, eq. 3      sum_c y_c (ln a0 - ln alpha_c)
 *            EDL_DIGAMMA, eq. 4  sum_c y_c (psi(a0) - psi(alpha_c))
 *            plus kl_weight KL(Dir(t) || Dir(1)), t_c = y_c + (1 - y_c) alpha_c, which is of the
 *            evidence for other classes than the label's
 * ib-edl     its form with an information bottleneck on labels (arXiv 2502.06351): the logits are
 *            the means m_c and, after them, r_c of the deviations s_c = softplus(r_c) of Gaussian
 *            pre-evidence; the mean over draws e of EDL_MSE, alpha_c = 1 + softplus(m_c + s_c e_c),
 *            plus ib_beta KL(N(m, s^2) || N(0, 1)), 1/2 sum_c (m_c^2 + s_c^2 - 2 ln s_c - 1)
 *
 * All are for one example; a batch's loss is their mean. */
#ifndef DUQ_MATH_LOSS_H
#define DUQ_MATH_LOSS_H

#include "common/util/everywhere.h"

#include <stddef.h>

/* The losses there are. */
enum loss_kind { LOSS_SOFTMAX, LOSS_DIRICHLET, LOSS_LABELS, LOSS_EDL, LOSS_IB_EDL, LOSSES };

/* What is to be known of one beside its formula (loss_formulas.h). */
struct loss_facts {
    const char *name; /* of --loss */
    const char *head; /* a student's that was trained by it: "softmax" or "dirichlet" */
    enum { TARGET_PROBS, TARGET_MEMBERS, TARGET_LABEL } target;
};

enum alpha0_mode { ALPHA0_STANDARD, ALPHA0_FIXED, ALPHA0_LEARNED };
enum edl_form { EDL_MSE, EDL_LOG, EDL_DIGAMMA };

struct loss {
    enum loss_kind kind;
    enum alpha0_mode mode; /* of LOSS_DIRICHLET */
    double alpha0;         /* of ALPHA0_FIXED: what alpha sums to; > 0 */
    double beta;           /* of ALPHA0_LEARNED */
    enum edl_form form;    /* of LOSS_EDL */
    double kl_weight;      /* of LOSS_EDL: lambda at this step; >= 0 */
    int samples;           /* of LOSS_IB_EDL: draws for an example; > 0 */
    double ib_beta;        /* of LOSS_IB_EDL */
};

/* Added to a member's probability before its logarithm, as the published code does. */
#define LOSS_LOG_FLOOR 1e-8

/* How many logits a student has, and how many numbers its loss is given as an example's target. */
EVERYWHERE size_t loss_outputs(enum loss_kind kind, size_t classes)
{
    return kind == LOSS_IB_EDL ? 2 * classes : classes;
}

EVERYWHERE size_t loss_target_size(const struct loss *loss, size_t classes)
{
    return loss->kind == LOSS_IB_EDL ? (1 + (size_t)loss->samples) * classes : classes;
}

DUQ_C_BEGIN

extern const struct loss_facts loss_facts[LOSSES];

/* What loss_value() needs of the teacher, or of the label, [n]; no loss needs the members one by
 * one. */
void target_from_probs(const double *probs, size_t n, double *target); /* TARGET_PROBS */
void target_from_label(int label, size_t n, double *target);           /* TARGET_LABEL */
/* TARGET_MEMBERS: sum_m w_m log(p_mc + floor). members: [n_members * n], row-major. */
void target_from_members(const double *members, const double *weights, size_t n_members, size_t n,
                         double *target);

/* The loss of one example of n classes. logits: [loss_outputs()]. target: [loss_target_size()],
 * what the functions above give and, of LOSS_IB_EDL, after it e, [samples, n], draws from N(0, 1).
 * gradient: [loss_outputs()], receives d loss / d logits.
 * s: the learned ln a0, ALPHA0_LEARNED alone reads it; *gradient_s receives d loss / d s (0 in the
 * other modes). */
double loss_value(const struct loss *loss, const double *logits, const double *target, size_t n,
                  double s, double *gradient, double *gradient_s);

/* A Dirichlet student's alphas, as its loss sees them (scaled in ALPHA0_FIXED). Both [n]. */
void dirichlet_alpha(const struct loss *loss, const double *logits, size_t n, double *alpha);

/* The alphas that an IB-EDL student predicts by, 1 + E softplus(m_c + s_c e), within 1e-6 of
 * themselves where s_c <= 100. The published code has the mean of 20 draws. logits: [2 n]; alpha:
 * [n]. */
void ib_edl_alpha(const double *logits, size_t n, double *alpha);

/* probs: [n], receives softmax(logits). */
void softmax_probs(const double *logits, size_t n, double *probs);

DUQ_C_END

#endif
