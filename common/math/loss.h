/* The losses a student is trained with, and their gradients by the class logits; double precision.
 *
 * softmax    KL(teacher || softmax(logits)), the teacher's mixture probabilities
 * labels     cross-entropy of softmax(logits) with the labels
 * dirichlet  alpha_c = 1 + softplus(logit_c), a0 = sum alpha_c;
 *            -[ln G(a0) - sum_c ln G(alpha_c) + sum_m w_m sum_c (alpha_c - 1) log p_mc],
 *            the negative log density of the teacher's members p_m, weighted by their w_m
 *            (arXiv 2507.18366). ALPHA0_FIXED scales alpha to a given a0 first; ALPHA0_LEARNED adds
 *            beta (a0 - e^s)^2 with s learned.
 * edl        evidential deep learning on labels (Sensoy, Kaplan & Kandemir 2018, arXiv 1806.01768),
 *            alpha as above, p_c = alpha_c / a0, y one-hot: the label's Bayes risk under
 * Dir(alpha), EDL_MSE      sum_c (y_c - p_c)^2 + p_c (1 - p_c) / (a0 + 1)      eq. 5 EDL_LOG sum_c
 * y_c (ln a0 - ln alpha_c)                      eq. 3 EDL_DIGAMMA  sum_c y_c (psi(a0) -
 * psi(alpha_c))                  eq. 4 plus kl_weight KL(Dir(t) || Dir(1)), t_c = y_c + (1 - y_c)
 * alpha_c: the evidence for classes that are not the label's All are for one example; a batch's
 * loss is their mean. */
#ifndef DUQ_MATH_LOSS_H
#define DUQ_MATH_LOSS_H

#include "common/util/everywhere.h"

#include <stddef.h>

/* The losses there are. */
enum loss_kind { LOSS_SOFTMAX, LOSS_DIRICHLET, LOSS_LABELS, LOSS_EDL, LOSSES };

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
};

/* Added to a member's probability before its logarithm, as the published code does. */
#define LOSS_LOG_FLOOR 1e-8

DUQ_C_BEGIN

extern const struct loss_facts loss_facts[LOSSES];

/* What loss_value() needs of the teacher, or of the label, [n]; no loss needs the members one by
 * one. */
void target_from_probs(const double *probs, size_t n, double *target); /* TARGET_PROBS */
void target_from_label(int label, size_t n, double *target);           /* TARGET_LABEL */
/* TARGET_MEMBERS: sum_m w_m log(p_mc + floor). members: [n_members * n], row-major. */
void target_from_members(const double *members, const double *weights, size_t n_members, size_t n,
                         double *target);

/* The loss of one example. logits, target: [n]. gradient: [n], receives d loss / d logits.
 * s: the learned ln a0, ALPHA0_LEARNED alone reads it; *gradient_s receives d loss / d s (0 in the
 * other modes). */
double loss_value(const struct loss *loss, const double *logits, const double *target, size_t n,
                  double s, double *gradient, double *gradient_s);

/* A Dirichlet student's alphas, as its loss sees them (scaled in ALPHA0_FIXED). Both [n]. */
void dirichlet_alpha(const struct loss *loss, const double *logits, size_t n, double *alpha);

/* probs: [n], receives softmax(logits). */
void softmax_probs(const double *logits, size_t n, double *probs);

DUQ_C_END

#endif
