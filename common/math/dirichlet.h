/* What a prediction knows of its own uncertainty, in nats: of a Dirichlet over the class
 * probabilities, and of an ensemble's mixture.
 *
 * total     = H(E p)      the entropy of the mean class probabilities
 * aleatoric = E H(p)      the mean entropy: what remains when the probabilities are known
 * epistemic = total - aleatoric   the mutual information of class and probabilities; never below 0
 *
 * arXiv 2507.18366; Malinin and Gales 2018 (arXiv 1802.10501) for the Dirichlet's. */
#ifndef DUQ_MATH_DIRICHLET_H
#define DUQ_MATH_DIRICHLET_H

#include <stddef.h>

struct uncertainty {
    double total, aleatoric, epistemic; /* nats */
};

/* -sum p log p in nats, 0 log 0 = 0; never below 0. probs: [n], not checked to sum to one. */
double entropy(const double *probs, size_t n);

/* alpha: [n], all > 0. probs: [n], receives the mean alpha / a0.
 * aleatoric = sum_c p_c (psi(a0 + 1) - psi(alpha_c + 1)). */
struct uncertainty dirichlet_uncertainty(const double *alpha, size_t n, double *probs);

/* K / a0 for K classes: the uncertainty mass of subjective logic (Josang 2016; Sensoy et al. 2018,
 * arXiv 1806.01768). Above 1 where a0 < K. alpha: [n], all > 0. */
double dirichlet_vacuity(const double *alpha, size_t n);

/* Differential entropy in nats, which may be negative (Malinin and Gales 2018, appendix C):
 * sum_c ln Gamma(alpha_c) - ln Gamma(a0) - sum_c (alpha_c - 1) (psi(alpha_c) - psi(a0)), computed
 * as sum_c G(alpha_c) - G(a0) - (K - 1) psi(a0) with G the entropy of a Gamma distribution, which
 * is the same and keeps its digits for large alpha. Within 1e-13 (absolute, or relative where the
 * value is above 1). -infinity where a0 or 1 / alpha_c is beyond a double. */
double dirichlet_entropy(const double *alpha, size_t n);

/* Expected pairwise KL divergence of two draws, in nats: E KL(p || q), p and q independent. What
 * Malinin (2019) writes with digammas comes to (K - 1) / a0. */
double dirichlet_pairwise_kl(const double *alpha, size_t n);

/* members: [n_members * n], row-major, each row class probabilities. weights: [n_members], sum 1.
 * probs: [n], receives the mixture. aleatoric = weighted mean of the members' entropies. */
struct uncertainty ensemble_uncertainty(const double *members, const double *weights,
                                        size_t n_members, size_t n, double *probs);

#endif
